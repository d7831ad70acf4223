"""What is kept of the servers' answers, for how long, and what is not asked."""

import pytest

from xmpp_onion.address import JID
from xmpp_onion.e2ee.directory import Directory, together
from xmpp_onion.errors import DeviceListError
from xmpp_onion.testing.fake_pep import FakePep, FakePepServer
from xmpp_onion.testing.omemo_peer import ONION

ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")


class Setting:
    """A directory of Alice's, on a server where tests put things."""

    def __init__(self) -> None:
        self.server = FakePepServer()
        self.pep = FakePep(ALICE, self.server)
        self.now = 0.0
        self.directory = Directory(self.pep, clock=lambda: self.now)


async def test_no_more_than_sixteen_requests_are_on_their_way() -> None:
    setting = Setting()

    await setting.directory.fetch_lists([JID(f"u{n}@{ONION}") for n in range(100)])

    assert setting.pep.most_at_once == 16
    assert len(setting.pep.requests) == 100


async def test_a_missing_bundle_is_asked_for_less_and_less_often() -> None:
    setting = Setting()
    asked_at = []

    for minute in range(4 * 60):
        setting.now = minute * 60.0
        before = len(setting.pep.requests)
        await setting.directory.fetch_bundles([(BOB, 7)])
        if len(setting.pep.requests) > before:
            asked_at.append(minute)

    assert asked_at == [0, 5, 15, 35, 75, 135, 195]


async def test_a_server_that_did_not_answer_is_asked_again_at_once() -> None:
    setting = Setting()
    setting.pep.failures = 1

    with pytest.raises(DeviceListError):
        await setting.directory.fetch_bundles([(BOB, 7)])
    await setting.directory.fetch_bundles([(BOB, 7)])

    assert len(setting.pep.requests) == 2


async def test_one_failure_does_not_stop_the_others() -> None:
    setting = Setting()
    jids = [JID(f"u{n}@{ONION}") for n in range(5)]
    setting.pep.failures = 1

    failures = await setting.directory.fetch_lists(jids)

    assert len(failures) == 1
    assert len(setting.directory.lists) == 4


async def test_a_push_about_somebody_unknown_is_not_kept() -> None:
    setting = Setting()
    setting.server.lists[BOB] = (7,)
    await setting.directory.fetch_lists([BOB])

    setting.pep.receive(BOB, (7, 9, 0, 9))
    changed = setting.pep._changed
    assert changed is not None
    changed(JID(f"mallory@{ONION}"), (1,))

    assert setting.directory.lists == {BOB: (7, 9)}


async def test_lists_are_fetched_again_after_a_session_was_lost() -> None:
    setting = Setting()
    setting.server.lists[BOB] = (7,)
    await setting.directory.fetch_lists([BOB])
    await setting.directory.fetch_lists([BOB])
    assert len(setting.pep.requests) == 1

    setting.directory.expire()
    await setting.directory.fetch_lists([BOB])

    assert len(setting.pep.requests) == 2


async def test_requests_of_one_flight_begin_in_order() -> None:
    begun: list[int] = []

    async def note(number: int) -> None:
        begun.append(number)

    await together(note(1), note(2), note(3))

    assert begun == [1, 2, 3]
