"""A server that gets another name, as far as its folder goes; Prosody does not run."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import OnionServiceError, ServerError
from xmpp_onion.moves import Move
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.server import Rotated, backup, initialise, restore, rotate
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import complete
from xmpp_onion.server.lock import locked
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.server.ports import NO_PORTS
from xmpp_onion.server.switch import is_pending
from xmpp_onion.transport import create_key, read_address

SECRET = Secret(Kind.KEY_FILE, bytes(32))


def place_of(folder: Path) -> Folder:
    return Folder(folder, find_unprivileged_user())


def put(place: Folder, name: str, content: str) -> None:
    """Write a file as Prosody would."""
    path = place.data / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(content)
    if place.run_as is not None:
        for each in (path, *path.parents):
            if each == place.data:
                break
            os.chown(each, *place.run_as)


def keys_of(folder: Path) -> list[Path]:
    return list(folder.glob("*.key"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initialise(tmp_path / "server")
    return tmp_path / "server"


def moves(folder: Path) -> dict[OnionAddress, Move]:
    now = datetime.now(UTC)
    return {
        each.onion: Move.read(each.document, old=each.onion, now=now)
        for each in place_of(folder).read_options().former
    }


async def test_a_server_has_another_name_and_says_so_under_the_old_one(
    folder: Path,
) -> None:
    place = place_of(folder)
    old = place.read_onion()
    old_certificate = place.read_certificate_fingerprint()
    label = old.removesuffix(".onion")
    put(place, f"{label}%2eonion/accounts/alice.dat", f'return "alice@{old}"')

    rotated = await rotate(folder)

    new = place.read_onion()
    assert (rotated.old, rotated.new) == (old, new)
    [(known, move)] = moves(folder).items()
    assert (known, move.new) == (old, new)
    assert move.certificate == place.read_certificate_fingerprint()
    assert move.certificate != old_certificate
    [former] = place.read_options().former
    assert read_address(folder / former.key_name) == old
    assert rotated.until is not None
    assert timedelta(days=89) < former.until - datetime.now(UTC) < timedelta(days=91)
    found = place.data / f"{new.removesuffix('.onion')}%2eonion" / "accounts/alice.dat"
    assert found.read_text() == f'return "alice@{new}"'
    assert found.stat().st_uid == place.prosody_uid
    config = place.config_file.read_text()
    assert f'VirtualHost "{new}"' in config
    assert f'name = "{old}"; document = "{former.document}"' in config
    assert not is_pending(folder)


async def test_each_name_that_it_had_leads_straight_to_the_newest(folder: Path) -> None:
    first = await rotate(folder)
    second = await rotate(folder)

    found = moves(folder)
    assert set(found) == {first.old, first.new}
    assert {move.new for move in found.values()} == {second.new}


async def test_names_beyond_a_few_are_given_up_the_oldest_first(folder: Path) -> None:
    names = [(await rotate(folder)).old for _ in range(5)]

    assert set(moves(folder)) == set(names[1:])


async def test_what_had_its_time_is_given_up(folder: Path) -> None:
    short = await rotate(folder, grace=timedelta(0))
    await rotate(folder)

    assert short.old not in moves(folder)


async def test_a_key_in_other_hands_says_nothing_and_is_removed(folder: Path) -> None:
    earlier = await rotate(folder)
    old = place_of(folder).read_onion()

    rotated = await rotate(folder, grace=None)

    assert rotated.until is None
    assert set(moves(folder)) == {earlier.old}
    keys = {read_address(path) for path in keys_of(folder)}
    assert old not in keys
    assert rotated.new in keys


async def test_a_key_made_before_is_taken(folder: Path, tmp_path: Path) -> None:
    made = create_key(tmp_path / "made.key")

    rotated = await rotate(folder, new_key=tmp_path / "made.key")

    assert rotated.new == made


async def test_a_name_that_it_has_or_had_is_no_new_one(folder: Path) -> None:
    first: Rotated = await rotate(folder)
    former = folder / f"former-{first.old}.key"

    for key in (folder / "onion.key", former):
        with pytest.raises(ServerError, match="keeps its name"):
            await rotate(folder, new_key=key)
    with pytest.raises(OnionServiceError):
        await rotate(folder, new_key=folder / "none")
    assert place_of(folder).read_onion() == first.new


async def test_a_server_that_runs_keeps_its_name(folder: Path) -> None:
    async with locked(place_of(folder)):
        with pytest.raises(ServerError, match="runs already"):
            await rotate(folder)


async def test_another_engine_keeps_its_name(folder: Path) -> None:
    place = place_of(folder)
    Options(engine=Engine.EJABBERD, ports=NO_PORTS).save(place.options_file)

    with pytest.raises(ServerError, match="only what Prosody keeps"):
        await rotate(folder)


async def test_data_that_lie_elsewhere_are_not_exchanged(
    folder: Path, tmp_path: Path
) -> None:
    place = place_of(folder)
    place.data.rename(tmp_path / "elsewhere")
    place.data.symlink_to(tmp_path / "elsewhere")
    old = place.read_onion()

    with pytest.raises(ServerError, match="a disk of its own"):
        await rotate(folder)
    assert place.read_onion() == old


async def test_a_backup_has_the_keys_of_both_names(
    folder: Path, tmp_path: Path
) -> None:
    rotated = await rotate(folder)
    await backup(folder, tmp_path / "file", SECRET)

    restore(tmp_path / "file", tmp_path / "there", lambda _: SECRET)

    there = place_of(tmp_path / "there")
    [former] = there.read_options().former
    assert former.onion == rotated.old
    assert read_address(there.path / former.key_name) == rotated.old
    assert there.read_onion() == rotated.new


# Rotates copies of a server, each time in a process that is killed before the n-th
# thing that it does to the disk, for each second n. Prints for which it was not killed
# any more. Nobody waits for the disks: what SIGKILL leaves is seen without.
ROTATE = """
import asyncio, os, signal, subprocess, sys
from pathlib import Path
from xmpp_onion.server import rotate

CALLS = {"os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove", "os.chmod"}

def run(folder, left):
    def count(event, details):
        nonlocal left
        if event in CALLS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    os.sync = lambda: None
    asyncio.run(rotate(folder))

for left in range(1, 300, 2):
    folder = Path(sys.argv[2]) / str(left)
    subprocess.run(["cp", "-a", sys.argv[1], folder], check=True)
    child = os.fork()
    if child == 0:
        run(folder, left)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(left)
        break
"""


def test_whoever_rotates_may_be_killed_anywhere(folder: Path, tmp_path: Path) -> None:
    place = place_of(folder)
    old = place.read_onion()
    label = old.removesuffix(".onion")
    put(place, f"{label}%2eonion/accounts/alice.dat", f'return "alice@{old}"')
    (tmp_path / "copies").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ROTATE, str(folder), str(tmp_path / "copies")],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    beyond, names = int(done.stdout), []

    for left in range(1, beyond, 2):
        copy = place_of(tmp_path / "copies" / str(left))
        name = complete(copy)
        names.append(name)
        assert complete(copy) == name
        part = name.removesuffix(".onion")
        found = copy.data / f"{part}%2eonion" / "accounts" / "alice.dat"
        assert found.read_text() == f'return "alice@{name}"'
        former = [each.onion for each in copy.read_options().former]
        assert former == ([] if name == old else [old])
        assert (copy.path / f"former-{old}.key").exists() == (name != old)

    assert len(names) > 10
    moved = [name != old for name in names]
    assert moved == sorted(moved)
    assert any(moved)
    assert not all(moved)
