"""A dial that gets no answer has company; what is not taken is closed."""

import asyncio
from dataclasses import dataclass, field

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import DialTimeoutError, OnionUnreachableError
from xmpp_onion.session.dialing import Dialed, Dialing
from xmpp_onion.session.liveness import Timing
from xmpp_onion.session.wire import Wire
from xmpp_onion.transport import Isolation

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
ACCOUNT = JID(f"alice@{ONION}")
# A silent dial has company at once, and lasts as long as a test may.
EAGER = Timing(first_dial=60.0, second_dial=0.01)


@dataclass
class Socket:
    turn: int
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Circuits:
    """Dials that end as a test wants it.

    Attributes:
        dead: Those of these turns get no answer.
        broken: Those of these turns get an error.
        late: Those of these turns connect although they are given up.
        tried: All turns, and how long each might take.
        connected: What was connected.
        told: What was sent with a dial, and the turn of that.
    """

    dead: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    tried: list[tuple[int, float]] = field(default_factory=list)
    connected: list[Socket] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    told: list[tuple[int, bytes]] = field(default_factory=list)

    async def dial(
        self,
        address: OnionAddress,
        port: int,  # noqa: ARG002 - as Tor.dial() has it
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> Socket:
        turn = isolation.turn
        self.tried.append((turn, timeout))
        if first:
            self.told.append((turn, first))
        if turn in self.broken:
            raise OnionUnreachableError("it is not there", host=str(address))
        try:
            if turn in self.dead:
                async with asyncio.timeout(timeout):
                    await asyncio.Event().wait()
        except TimeoutError as error:
            raise DialTimeoutError("no answer", host=str(address)) from error
        except asyncio.CancelledError:
            if turn not in self.late:
                self.given_up.append(turn)
                raise
        self.connected.append(Socket(turn))
        return self.connected[-1]


def dialing(circuits: Circuits, timing: Timing = EAGER) -> Dialing:
    return Dialing(circuits, ACCOUNT, port=5222, timing=timing)


def turns(circuits: Circuits) -> list[int]:
    return [turn for turn, _ in circuits.tried]


async def test_a_dial_that_is_answered_has_no_company() -> None:
    circuits = Circuits()

    await dialing(circuits).dial()

    assert turns(circuits) == [0]


async def test_a_silent_dial_gets_company_that_is_taken_and_kept_to() -> None:
    circuits = Circuits(dead=frozenset({0}))
    way = dialing(circuits)

    assert (await way.dial()).connection == Socket(1)
    assert circuits.given_up == [0]
    assert (await way.dial()).connection == Socket(1)
    assert turns(circuits) == [0, 1, 1]


async def test_company_that_is_silent_too_is_followed_by_a_third() -> None:
    circuits = Circuits(dead=frozenset({0, 1}))

    assert (await dialing(circuits).dial()).connection == Socket(2)
    assert turns(circuits) == [0, 1, 2]
    # The second had little time: at its end Tor is told to look the service up anew.
    assert circuits.tried[1][1] == EAGER.second_dial
    assert circuits.given_up == [0]


async def test_what_connects_when_another_is_taken_is_closed() -> None:
    circuits = Circuits(dead=frozenset({0}), late=frozenset({0}))

    taken = (await dialing(circuits).dial()).connection

    assert taken == Socket(1)
    assert circuits.connected == [Socket(1), Socket(0, is_closed=True)]


async def test_an_error_is_told_at_once() -> None:
    circuits = Circuits(broken=frozenset({0}))

    with pytest.raises(OnionUnreachableError):
        await dialing(circuits).dial()
    assert turns(circuits) == [0]


async def test_silence_everywhere_is_told_and_left_behind() -> None:
    circuits = Circuits(dead=frozenset(range(6)))
    way = dialing(circuits, Timing(first_dial=0.7, second_dial=0.001, dial=60.0))

    for _ in range(2):
        with pytest.raises(DialTimeoutError):
            await way.dial()

    assert turns(circuits) == list(range(6))
    assert [time for _, time in circuits.tried[::3]] == [0.7, 1.4]


async def test_a_dial_that_is_cancelled_leaves_nothing_open() -> None:
    circuits = Circuits(dead=frozenset({0, 1, 2}), late=frozenset({0, 1}))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dialing(circuits).dial())
        while len(circuits.tried) < 3:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert all(socket.is_closed for socket in circuits.connected)


async def test_a_silent_connection_is_left_for_one_by_other_circuits() -> None:
    circuits = Circuits()
    way, wire = dialing(circuits), Wire()

    await way.relieve(wire, is_stuck=False)

    assert wire._reason == "it is silent, and another circuit answers"
    assert (await way.dial()).connection == Socket(1)
    assert turns(circuits) == [1]


async def test_a_connection_that_speaks_after_all_is_kept() -> None:
    circuits = Circuits(dead=frozenset({1}))
    way, wire = dialing(circuits), Wire()
    async with asyncio.TaskGroup() as tasks:
        relieving = tasks.create_task(way.relieve(wire, is_stuck=False))
        while not circuits.tried:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0)
        wire.heard_bytes += 1
        await relieving

    assert circuits.connected == [Socket(2, is_closed=True)]
    assert wire._reason == ""


async def test_a_connection_that_was_perhaps_slow_gives_the_next_one_more_time() -> (
    None
):
    way = dialing(Circuits())
    doubts = [way.doubt]
    for is_stuck in (True, True, False):
        await way.relieve(Wire(), is_stuck=is_stuck)
        doubts.append(way.doubt)

    first = EAGER.doubt
    assert doubts == [first, 2 * first, 4 * first, first]


async def test_a_connection_that_nobody_takes_is_closed_in_the_end() -> None:
    circuits = Circuits()
    way = dialing(circuits)
    await way.relieve(Wire(), is_stuck=False)

    way.close()

    assert circuits.connected == [Socket(1, is_closed=True)]


async def test_what_is_said_first_is_said_on_one_circuit() -> None:
    circuits = Circuits(dead=frozenset({0}))

    dialed = await dialing(circuits).dial(b"hello")

    assert dialed == Dialed(Socket(1), was_said=False)
    assert circuits.told == [(0, b"hello")]


async def test_who_dialed_knows_whether_it_was_said() -> None:
    way = dialing(Circuits())

    assert (await way.dial(b"hello")).was_said
    assert not (await way.dial()).was_said
