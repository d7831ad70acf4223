"""What is kept of the servers' answers, for how long, and what is not asked."""

from collections import Counter

import pytest
from omemo import SignedLabel

from xmpp_onion.address import JID
from xmpp_onion.e2ee import OMEMO_2, OMEMO_OLD
from xmpp_onion.e2ee.directory import Directory, Place, together
from xmpp_onion.errors import DeviceListError
from xmpp_onion.testing.fake_pep import FakePep, FakePepServer
from xmpp_onion.testing.omemo_peer import ONION

ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")


class Refused:
    """Stands in for a bundle that is not used."""


class Setting:
    """A directory of Alice's, on a server where tests put things."""

    def __init__(self) -> None:
        self.server = FakePepServer()
        self.pep = FakePep(ALICE, self.server)
        self.now = 0.0
        self.contacts = {ALICE, BOB}
        self.directory = Directory(
            self.pep,
            is_contact=lambda jid: jid in self.contacts,
            clock=lambda: self.now,
        )

    def sizes(self) -> tuple[int, ...]:
        """Return how much is kept, of each kind."""
        known = self.directory
        return (
            len(known.lists),
            len(known.bundles),
            *map(len, (known._asked, known._watched, known._started, known._absent)),
            *map(len, (known._fetched, known._places, known._shelf, known.hidden)),
        )


async def test_requests_that_are_on_their_way_are_bounded() -> None:
    setting = Setting()

    await setting.directory.fetch_lists([JID(f"u{n}@{ONION}") for n in range(200)])

    assert setting.pep.most_at_once == 256
    assert len(setting.pep.requests) == 400


async def test_a_missing_bundle_is_asked_for_less_and_less_often() -> None:
    setting = Setting()
    asked_at = []

    for minute in range(4 * 60):
        setting.now = minute * 60.0
        before = len(setting.pep.requests)
        await setting.directory.fetch_bundles([Place(OMEMO_2, BOB, 7)])
        if len(setting.pep.requests) > before:
            asked_at.append(minute)

    assert asked_at == [0, 5, 15, 35, 75, 135, 195]


async def test_a_message_has_a_missing_bundle_asked_for_once_a_minute() -> None:
    setting = Setting()

    for second in range(0, 240, 20):
        setting.now = float(second)
        await setting.directory.fetch_bundles([Place(OMEMO_2, BOB, 7)], is_needed=True)

    assert len(setting.pep.requests) == 4


async def test_a_message_has_no_bundle_asked_for_that_was_refused() -> None:
    setting = Setting()
    place = Place(OMEMO_2, BOB, 7)
    setting.directory.bundles[place] = Refused()  # type: ignore[assignment] # nobody looks inside
    setting.directory.mark_refused(place)
    setting.now = 61.0

    await setting.directory.fetch_bundles([place], is_needed=True)

    assert setting.pep.requests == []


async def test_a_server_that_did_not_answer_is_asked_again_at_once() -> None:
    setting = Setting()
    setting.pep.failures = 1

    with pytest.raises(DeviceListError):
        await setting.directory.fetch_bundles([Place(OMEMO_2, BOB, 7)])
    await setting.directory.fetch_bundles([Place(OMEMO_2, BOB, 7)])

    assert len(setting.pep.requests) == 2


async def test_one_failure_does_not_stop_the_others() -> None:
    setting = Setting()
    jids = [JID(f"u{n}@{ONION}") for n in range(5)]
    setting.pep.failures = 1

    failures = await setting.directory.fetch_lists(jids)

    assert len(failures) == 1
    assert len(setting.directory.lists) == 9


async def test_a_push_about_somebody_unknown_is_not_kept() -> None:
    setting = Setting()
    setting.server.push(BOB, [7])
    await setting.directory.fetch_lists([BOB])

    setting.pep.receive(OMEMO_2, BOB, {7: None, 9: None, 0: None})
    changed = setting.pep._changed
    assert changed is not None
    changed(OMEMO_2, JID(f"mallory@{ONION}"), {1: None})

    assert setting.directory.lists == {
        (OMEMO_2, BOB): {7: None, 9: None},
        (OMEMO_OLD, BOB): {7: None},
    }


async def test_lists_are_fetched_again_after_a_session_was_lost() -> None:
    setting = Setting()
    setting.server.push(BOB, [7])
    await setting.directory.fetch_lists([BOB])
    await setting.directory.fetch_lists([BOB])
    assert len(setting.pep.requests) == 2

    setting.directory.expire()
    await setting.directory.fetch_lists([BOB])

    assert len(setting.pep.requests) == 4


async def test_whoever_speaks_one_version_is_asked_for_the_other_ever_less() -> None:
    setting = Setting()
    setting.server.push(BOB, [7], [OMEMO_OLD])
    asked_at = []

    for minute in range(200):
        setting.now = minute * 60.0
        before = len(setting.pep.requests)
        await setting.directory.fetch_lists([BOB])
        if len(setting.pep.requests) > before:
            asked_at.append(minute)

    assert asked_at == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert Counter(setting.pep.requests) == {
        f"list {OMEMO_OLD} {BOB}": 1,
        f"list {OMEMO_2} {BOB}": 9,
    }


async def test_who_has_no_list_is_asked_each_time_but_in_a_crowd_once_a_minute() -> (
    None
):
    setting = Setting()

    for second in range(150):
        setting.now = second * 1.0
        await setting.directory.fetch_lists([BOB], is_crowd=True)
    assert Counter(setting.pep.requests) == {
        f"list {OMEMO_OLD} {BOB}": 3,
        f"list {OMEMO_2} {BOB}": 3,
    }

    await setting.directory.fetch_lists([BOB])
    assert len(setting.pep.requests) == 8


async def test_a_list_without_end_is_cut_and_long_labels_are_left_out() -> None:
    setting = Setting()
    labels = {1: SignedLabel("phone", b""), 2: SignedLabel("x" * 101, b"")}
    setting.server.push(BOB, labels | dict.fromkeys(range(3, 100_000)), [OMEMO_2])

    await setting.directory.fetch_lists([BOB])

    kept = setting.directory.lists[OMEMO_2, BOB]
    assert (kept[1], kept[2], len(kept)) == (labels[1], None, 1000)


async def test_what_is_known_of_strangers_is_bounded_and_contacts_stay() -> None:
    setting = Setting()
    for jid in (ALICE, BOB):
        setting.server.push(jid, range(1, 1001))
    await setting.directory.fetch_lists([ALICE, BOB])
    await setting.directory.fetch_bundles([Place(OMEMO_2, BOB, 1)])

    sizes = []
    for part in range(16):
        strangers = [JID(f"u{part}.{n}@{ONION}") for n in range(1000)]
        for jid in strangers:
            setting.server.push(jid, range(1, 4))
        setting.server.hidden.update(strangers[:500])
        await setting.directory.fetch_lists(strangers)
        await setting.directory.fetch_bundles(
            [Place(OMEMO_2, jid, number) for jid in strangers for number in (1, 2)]
        )
        sizes.append(setting.sizes())

    assert sizes[-1] == sizes[-2]
    assert max(sizes[-1]) <= 20_000
    assert len(setting.directory.ids(BOB)) == len(setting.directory.ids(ALICE)) == 1000
    assert setting.directory.is_absent(Place(OMEMO_2, BOB, 1))
    assert setting.directory.is_known(strangers[-1])


async def test_who_was_forgotten_is_asked_again_and_pushes_nothing_before() -> None:
    setting = Setting()
    stranger = JID(f"stranger@{ONION}")
    setting.server.push(stranger, [7])
    await setting.directory.fetch_lists([stranger])

    setting.directory._forget(stranger)
    setting.pep.receive(OMEMO_2, stranger, {9: None})
    assert not setting.directory.is_known(stranger)
    await setting.directory.fetch_lists([stranger])

    assert setting.directory.ids(stranger) == (7,)


async def test_a_contact_that_changes_devices_for_ever_fills_no_memory() -> None:
    setting = Setting()

    for hour in range(20):
        setting.now = hour * 3601.0
        places = [Place(OMEMO_2, BOB, 1000 * hour + n) for n in range(1, 41)]
        await setting.directory.fetch_bundles(places)

    assert len(setting.pep.requests) == 800
    assert len(setting.directory._absent) == 256


async def test_a_stranger_has_a_shorter_list() -> None:
    setting = Setting()
    stranger = JID(f"stranger@{ONION}")
    setting.server.push(stranger, range(1, 1001))

    await setting.directory.fetch_lists([stranger])

    assert len(setting.directory.ids(stranger)) == 128


async def test_a_list_for_contacts_only_is_told_apart_from_an_empty_one() -> None:
    setting = Setting()
    setting.server.push(BOB, [7])
    setting.server.hidden.add(BOB)

    await setting.directory.fetch_lists([BOB])
    assert setting.directory.hidden == {BOB}

    setting.server.hidden.clear()
    await setting.directory.fetch_lists([BOB])
    assert setting.directory.hidden == set()
    assert setting.directory.ids(BOB) == (7,)


async def test_requests_of_one_flight_begin_in_order() -> None:
    begun: list[int] = []

    async def note(number: int) -> None:
        begun.append(number)

    await together(note(1), note(2), note(3))

    assert begun == [1, 2, 3]
