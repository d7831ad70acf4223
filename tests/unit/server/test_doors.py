import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server import give_key, initialise, list_keys, revoke_key, rotate
from xmpp_onion.server.clients import ClientKeys
from xmpp_onion.server.doors import Doors, find_private_door
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door, Options
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.transport import Tor

READY = ("250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done", "250 OK")


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    initialise(tmp_path / "server")
    return Folder(tmp_path / "server", find_unprivileged_user())


@pytest.fixture
async def fake() -> AsyncIterator[FakeControl]:
    async with FakeControl() as control:
        control.answers["GETINFO"] = READY
        yield control


def choose(place: Folder, door: Door) -> Options:
    options = Options(door=door).with_all_ports()
    place.write_options(options)
    return options


def announce(fake: FakeControl, *labels: str) -> None:
    events = [
        f"650 HS_DESC {kind} {label.removesuffix('.onion')} UNKNOWN $A"
        for kind in ("UPLOAD", "UPLOADED")
        for label in labels
    ]
    fake.answers["ADD_ONION"] = ("250 OK", *events)


def added(fake: FakeControl) -> list[str]:
    return [line for line in fake.asked if line.startswith("ADD_ONION")]


def test_a_public_server_has_no_private_door(place: Folder) -> None:
    assert find_private_door(place, choose(place, Door.PUBLIC)) is None
    for action in (list_keys, give_key):
        with pytest.raises(ServerError, match="no private door"):
            action(place.path)
    assert not (place.path / "clients.json").exists()


def test_a_private_door_that_lost_its_key_gets_no_other_address(place: Folder) -> None:
    options = choose(place, Door.BOTH)
    address = find_private_door(place, options)
    key = place.path / "private-door.key"
    kept = key.rename(place.path / "kept.key")

    with pytest.raises(ServerError, match="has lost its address"):
        give_key(place.path, "alice")

    assert not key.exists()
    kept.rename(key)
    assert find_private_door(place, options) == address


def test_the_private_door_of_a_private_server_is_its_name(place: Folder) -> None:
    assert find_private_door(place, choose(place, Door.PRIVATE)) == place.read_onion()


def test_with_both_the_private_door_is_another_onion_that_stays(place: Folder) -> None:
    options = choose(place, Door.BOTH)
    door = find_private_door(place, options)

    assert door not in {None, place.read_onion()}
    assert find_private_door(place, options) == door


def test_a_key_is_given_listed_and_revoked(place: Folder) -> None:
    choose(place, Door.BOTH)

    guest, admission = give_key(place.path, "alice")

    assert guest.name == "alice"
    assert admission.address == find_private_door(place, place.read_options())
    assert list_keys(place.path) == (guest,)
    assert revoke_key(place.path, "alice") == guest
    assert list_keys(place.path) == ()


def test_a_folder_without_a_server_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no server"):
        give_key(tmp_path)


@pytest.mark.parametrize("door", list(Door))
async def test_each_door_is_published_as_it_shall_be(
    door: Door, place: Folder, fake: FakeControl
) -> None:
    options = choose(place, door)
    name, private = place.read_onion(), find_private_door(place, options)
    announce(fake, name, private or name)
    async with FakeSocks() as proxy, Tor.attach(proxy.socks, fake.place) as tor:
        async with Doors(place, options, tor=tor) as doors:
            addresses = [service.address for service in doors.services]
        assert doors.services == ()

    lines = added(fake)
    assert (
        addresses
        == {
            Door.PUBLIC: [name],
            Door.PRIVATE: [name],
            Door.BOTH: [name, private],
        }[door]
    )
    is_private = ["V3Auth" in line for line in lines]
    assert (
        is_private
        == {
            Door.PUBLIC: [False],
            Door.PRIVATE: [True],
            Door.BOTH: [False, True],
        }[door]
    )
    for line in lines:
        assert ("PoWDefensesEnabled=1" in line) != ("V3Auth" in line)
        assert "MaxStreams=32" in line
        assert line.count("ClientAuthV3=") in {0, 16}
        assert f"Port=5222,127.0.0.1:{options.ports.c2s}" in line
    assert sum(line.startswith("DEL_ONION") for line in fake.asked) == len(lines)


async def test_a_revoked_key_is_taken_out_while_the_server_runs(
    place: Folder, fake: FakeControl
) -> None:
    options = choose(place, Door.PRIVATE)
    announce(fake, place.read_onion())
    guest, _ = give_key(place.path, "alice")
    async with (
        FakeSocks() as proxy,
        Tor.attach(proxy.socks, fake.place) as tor,
        Doors(place, options, tor=tor),
    ):
        async with asyncio.timeout(60):
            revoke_key(place.path, "alice")
            await until(lambda: len(added(fake)) == 2)

    before, after = added(fake)
    assert f"ClientAuthV3={guest.public}" in before
    assert f"ClientAuthV3={guest.public}" not in after


async def test_a_new_guest_disturbs_nobody(place: Folder, fake: FakeControl) -> None:
    options = choose(place, Door.PRIVATE)
    announce(fake, place.read_onion())
    async with (
        FakeSocks() as proxy,
        Tor.attach(proxy.socks, fake.place) as tor,
        Doors(place, options, tor=tor),
    ):
        async with asyncio.timeout(60):
            give_key(place.path, "alice")
            give_key(place.path, "bob")
            revoke_key(place.path, "bob")  # this one is seen
            await until(lambda: len(added(fake)) == 2)

    alice = ClientKeys(place.path).guests()[0]
    assert all(f"ClientAuthV3={alice.public}" in line for line in added(fake))


async def test_damaged_keys_do_not_take_the_server_down(
    place: Folder, fake: FakeControl, caplog: pytest.LogCaptureFixture
) -> None:
    options = choose(place, Door.PRIVATE)
    announce(fake, place.read_onion())
    async with (
        FakeSocks() as proxy,
        Tor.attach(proxy.socks, fake.place) as tor,
        Doors(place, options, tor=tor) as doors,
    ):
        async with asyncio.timeout(60):
            (place.path / "clients.json").write_text("{")
            await until(lambda: "stays as it was" in caplog.text)
            assert len(doors.services) == 1

    assert len(added(fake)) == 1


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the fake has no event for it
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("door", list(Door))
async def test_a_name_of_before_is_published_like_the_one_of_now(
    door: Door, place: Folder, fake: FakeControl
) -> None:
    await rotate(place.path)
    options = replace(place.read_options(), door=door)
    place.write_options(options)
    [former] = options.former
    ended = replace(former, until=datetime.now(UTC) - timedelta(seconds=1))
    private = find_private_door(place, options)
    name = place.read_onion()
    announce(fake, name, former.onion, private or name)

    async with FakeSocks() as proxy, Tor.attach(proxy.socks, fake.place) as tor:
        async with Doors(place, options, tor=tor) as doors:
            published = [service.address for service in doors.services]
        over = replace(options, former=(ended,))
        async with Doors(place, over, tor=tor) as doors:
            later = [service.address for service in doors.services]

    assert published[-1] == former.onion
    assert later == published[:-1]
    is_private = ["V3Auth" in line for line in added(fake)[: len(published)]]
    assert is_private[-1] == (door is Door.PRIVATE)
