"""One account as a process of its own: sends numbered texts, handles what comes.

It uses the public names only, and writes down what it does before and after it does
it, so that whoever kills it knows what it had promised. See history.py.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import flood
from future import install_future
from history import History
from killpoints import VARIABLE, KillPoint, install_cuts, note_rotations
from poison import poisons

from xmpp_onion import (
    Account,
    Client,
    Message,
    RolledBack,
    Tor,
    Undecryptable,
    XmppOnionError,
)
from xmpp_onion.errors import NotAcknowledgedError, StoreError
from xmpp_onion.session import Timing, stream

# Every so many texts, this many are sent at once.
_BURST_EVERY, _BURST = 7, 4
# The exit status of a process that its store has failed.
FAILED = 7
_SENT_PAUSE = 0.01  # seconds between two looks whether all is sent
_LAG_PAUSE = 0.02  # seconds between two looks at the event loop


@dataclass(frozen=True)
class Plan:
    """What a process is to do.

    Attributes:
        profile: Whose process it is.
        data_dir: Where profiles live.
        socks: The way to the server.
        history: Where it writes down what it did.
        to: Whom it sends to; empty sends nothing.
        until: The number of the last text.
        pause: Seconds between two texts.
        kill: Where it kills itself; see killpoints.py.
        cut_percent: How many of a hundred network calls cut the connection.
        poison_every: After so many texts one that cannot be read follows, until
            there was one of each kind; 0 for none.
        clock: A file with the time, if it is not that of the machine; see clock.py.
        zone: Its time zone; empty leaves it.
        is_listening: Whether it handles what comes.
        is_brief: Whether it ends by itself when the server has all that it sends.
        control: The control port of the Tor at ``socks``, if it may be used.
        torrc: If not empty, a Tor of its own is launched with these lines.
        haste: How many times less than usual it waits for a server that is silent.
        is_measured: Whether it measures how long its event loop is held up, and
            writes down at each SIGUSR2 what it found since the last one.
        flood: Seconds for which it sends as a hostile stranger does; see flood.py.
        future: How many migrations it knows that do not exist yet; see future.py.
    """

    profile: str
    data_dir: Path
    socks: str
    history: Path
    to: str = ""
    until: int = 0
    pause: float = 0.0
    kill: str = ""
    cut_percent: int = 0
    poison_every: int = 0
    clock: str = ""
    zone: str = ""
    is_listening: bool = True
    is_brief: bool = False
    control: str = ""
    torrc: tuple[str, ...] = ()
    haste: float = 1.0
    is_measured: bool = False
    flood: int = 0
    future: int = 0


class Peer:
    """A client that keeps a history."""

    def __init__(self, plan: Plan, kill: KillPoint) -> None:
        self._plan = plan
        self._kill = kill
        self._number = History.last_number(plan.history)
        self._poisoned = 0
        self._lags: list[float] = []
        self.status = 0
        self._history = History(plan.history)
        self._account = Account.load(plan.profile, plan.data_dir)
        note_rotations(lambda: self._history.write("rotated"))
        logging.getLogger(stream.__name__).addHandler(_States(self._history))
        stream.Timing = lambda: hasten(Timing(), plan.haste)

    async def run(self) -> None:
        """Be there until told to go, or until everything is sent."""
        self._history.write("started", who=self._account.jid)
        try:
            with suppress(asyncio.CancelledError):
                await self._live()
        except* StoreError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            assert isinstance(error, StoreError)
            self._history.write(
                "failed", error=type(error).__name__, why=error.why, fix=error.fix
            )
            self.status = FAILED
        else:
            self._history.write("stopped", memory=_peak_bytes())

    async def _live(self) -> None:
        plan = self._plan
        async with (
            self._tor() as tor,
            Client(self._account, tor=tor, login_timeout=None) as client,
            asyncio.TaskGroup() as tasks,
        ):
            if plan.cut_percent:
                install_cuts(
                    plan.cut_percent, lambda: client._session._wire.drop("cut")
                )
            self._history.write("ready", fingerprint=client.fingerprint)
            beside = [self._listen(client)] if plan.is_listening else []
            beside += [self._watch_loop()] if plan.is_measured else []
            helpers = [tasks.create_task(each) for each in beside]
            if plan.flood:
                sent, rate = await flood.flood(client, plan.to, plan.flood)
                self._history.write("flooded", number=sent, rate=rate)
            else:
                await self._talk(client)
            if not plan.is_brief:
                await asyncio.Event().wait()
            # What is only on the disk would wait for the next process, and there may
            # be none: whoever waits for it would look for it at its receiver.
            while await client.queued():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_SENT_PAUSE)
            for helper in helpers:
                helper.cancel()

    async def _watch_loop(self) -> None:
        """Note for how long nothing could run here, fifty times a second."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._tell_lag)
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LAG_PAUSE)
            self._lags.append(time.monotonic() - before - _LAG_PAUSE)

    def _tell_lag(self) -> None:
        lags = sorted(self._lags) or [0.0]
        self._lags = []
        self._history.write(
            "lag", seconds=lags[-1], p99=lags[len(lags) * 99 // 100], memory=_bytes()
        )

    def _tor(self) -> Tor:
        plan = self._plan
        if plan.torrc:
            return Tor.launch(self._account.folder / "tor", extra=plan.torrc)
        return Tor.attach(plan.socks, plan.control or None)

    async def _talk(self, client: Client) -> None:
        while self._plan.to and self._number < self._plan.until:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(1 if self._number % _BURST_EVERY else _BURST):
                    self._number += 1
                    tasks.create_task(self._say(client, self._number))
            await self._poison(client)
            await asyncio.sleep(self._plan.pause)

    async def _poison(self, client: Client) -> None:
        """Send the next stanza that cannot be read, if it is time."""
        kinds = poisons(self._plan.to)
        every, sent = self._plan.poison_every, self._poisoned
        if every and sent < len(kinds) and self._number >= every * (sent + 1):
            await client._session.send(kinds[sent], f"poison{sent}")
            self._poisoned += 1
            self._history.write("poisoned", number=sent)

    async def _say(self, client: Client, number: int) -> None:
        self._history.write("intent", number=number)
        hand_over = client.send if number % 3 == 0 else client.queue
        try:
            delivery = await hand_over(self._plan.to, f"text {number}")
        except NotAcknowledgedError:
            self._history.write("accepted", number=number)  # it says it is queued
        except XmppOnionError as error:
            name = f"{type(error).__name__}: {error}"
            self._history.write("refused", number=number, error=name)
        else:
            self._history.write("accepted", number=number, id=delivery.id)

    async def _listen(self, client: Client) -> None:
        async for event in client.events():
            match event:
                case Message(text=flood.TEXT):
                    pass  # of a stranger; to write each down would hold up the loop
                case Message(id=message_id, sender=sender, text=text):
                    number = int(text.removeprefix("text "))
                    self._history.write(
                        "handled", id=message_id, sender=sender, number=number
                    )
                    self._kill.reach("handled")
                case Undecryptable(sender=sender, reason=reason):
                    self._history.write("unreadable", sender=sender, reason=reason)
                case RolledBack():
                    self._history.write("rolled back")


def _peak_bytes() -> int:
    """Return the most memory that this process has had."""
    return _bytes("VmHWM:")


def _bytes(what: str = "VmRSS:") -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition(what)[2].split()[0]) * 1024


class _States(logging.Handler):
    """Writes down each state of the connection, as the session logs it."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("session: %s after") and record.args:
            self._history.write("state", state=str(record.args[0]))


def hasten(timing: Timing, haste: float) -> Timing:
    """Return a timing with less patience for silence."""
    return replace(
        timing,
        idle=timing.idle / haste,
        silence=timing.silence / haste,
        resumed_silence=timing.resumed_silence / haste,
    )


async def _until_told(peer: Peer) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell_where)
    await peer.run()
    if peer.status:
        sys.exit(peer.status)


def _tell_where() -> None:
    """Write down what every task waits for: the arena asks when nothing moves."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


def main(plan: Plan) -> None:
    """Carry a plan out; the body of the process."""
    log = os.open(
        plan.history.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    os.dup2(log, sys.stderr.fileno())
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(message)s"
    )
    kill = KillPoint(plan.kill or os.environ.get(VARIABLE, ""))
    kill.install()
    install_future(plan.future)
    asyncio.run(_until_told(Peer(plan, kill)))


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    paths = {name: Path(fields.pop(name)) for name in ("data_dir", "history")}
    main(Plan(**fields, **paths))
