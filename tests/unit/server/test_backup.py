"""Backups of a server that does not run, and what is no backup."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import os
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from xmpp_onion.errors import ServerError, StoreKeyError
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.sealed import SealedWriter
from xmpp_onion.server import Engine, Options, backup, initialise, restore
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.transport import read_address

SECRET = Secret(Kind.KEY_FILE, bytes(32))  # a passphrase takes its time
# What is made anew, or belongs to a process.
PASSING = {"backed-up", "lock", "backup.lock", "server.json", "xmpp-onion.service"}
PASSING |= {"prosody/prosody.cfg.lua", "prosody/data/prosody.log"}


def find(_kind: Kind) -> Secret:
    return SECRET


def contents(folder: Path) -> dict[str, bytes]:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return {name: data for name, data in found.items() if name not in PASSING}


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server with a few things that Prosody might have kept."""
    folder = tmp_path / "server"
    initialise(folder)
    data = Folder(folder, find_unprivileged_user()).data
    keep(data, "x%2eonion/accounts/alice.dat", "her")
    keep(data, "share%2ex%2eonion/http_file_share/1.bin", "her photo")
    keep(data, "prosody.log", "a warning")
    return folder


def keep(data: Path, name: str, text: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    owner = data.stat()
    for place in (path, path.parent, path.parent.parent):
        os.chown(place, owner.st_uid, owner.st_gid)


async def test_a_server_goes_on_elsewhere_with_its_name_and_its_files(
    server: Path, tmp_path: Path
) -> None:
    there = tmp_path / "elsewhere" / "server"

    saved = await backup(server, tmp_path / "file", SECRET)
    onion = restore(tmp_path / "file", there, find)

    assert onion == saved.onion == read_address(there / "onion.key")
    assert contents(there) == contents(server)


async def test_what_another_program_keeps_is_not_saved_in_part(
    server: Path, tmp_path: Path
) -> None:
    options = server / "server.json"
    replace(Options.load(options), engine=Engine.EJABBERD).save(options)

    with pytest.raises(ServerError, match="was not saved"):
        await backup(server, tmp_path / "file", SECRET)
    assert not (tmp_path / "file").exists()


async def test_a_restored_server_is_private_and_has_other_ports(
    server: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    await backup(server, tmp_path / "file", SECRET)
    old = os.umask(0)
    try:
        restore(tmp_path / "file", there, find)
    finally:
        os.umask(old)

    Folder(there, find_unprivileged_user()).check()
    data = there / "prosody" / "data"
    owner = (server / "prosody" / "data").stat().st_uid
    assert {path.stat().st_uid for path in (data, *data.rglob("*"))} == {owner}
    assert {path.stat().st_mode & 0o077 for path in (data, *data.rglob("*"))} == {0}
    before = Options.load(server / "server.json").ports
    assert not set(before) & set(Options.load(there / "server.json").ports)


async def test_shared_files_are_left_out_if_they_shall(
    server: Path, tmp_path: Path
) -> None:
    await backup(server, tmp_path / "file", SECRET, with_uploads=False)
    restore(tmp_path / "file", tmp_path / "there", find)

    missing = contents(server).keys() - contents(tmp_path / "there").keys()
    assert missing == {"prosody/data/share%2ex%2eonion/http_file_share/1.bin"}


async def test_the_file_is_private_and_tells_nothing(
    server: Path, tmp_path: Path
) -> None:
    old = os.umask(0)
    try:
        saved = await backup(server, tmp_path / "file", SECRET)
    finally:
        os.umask(old)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "file").read_bytes()
    assert str(saved.onion).encode() not in text
    assert b"alice" not in text


async def test_nothing_is_written_over(server: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(ServerError, match="something of that name"):
        await backup(server, tmp_path / "file", SECRET)

    assert (tmp_path / "file").read_text() == "mine"


async def test_a_folder_that_is_not_empty_is_refused(
    server: Path, tmp_path: Path
) -> None:
    await backup(server, tmp_path / "file", SECRET)
    before = contents(server)

    with pytest.raises(ServerError, match="not an empty folder"):
        restore(tmp_path / "file", server, find)

    assert contents(server) == before


async def test_an_empty_folder_is_taken(server: Path, tmp_path: Path) -> None:
    await backup(server, tmp_path / "file", SECRET)
    (tmp_path / "there").mkdir()

    restore(tmp_path / "file", tmp_path / "there", find)

    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("length", [0, 10, 200, 400, -17, -1])
async def test_of_a_damaged_backup_nothing_is_restored(
    server: Path, tmp_path: Path, length: int
) -> None:
    await backup(server, tmp_path / "file", SECRET)
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[:length])
    before = set(tmp_path.iterdir())

    with pytest.raises(ServerError, match="the backup cannot be read"):
        restore(tmp_path / "file", tmp_path / "there", find)

    assert set(tmp_path.iterdir()) == before


async def test_with_a_wrong_passphrase_nothing_is_restored(
    server: Path, tmp_path: Path
) -> None:
    passphrase = Secret.passphrase("correct horse")
    await backup(server, tmp_path / "file", passphrase)
    before = set(tmp_path.iterdir())

    with pytest.raises(StoreKeyError, match="the passphrase is wrong"):
        restore(
            tmp_path / "file",
            tmp_path / "there",
            lambda _kind: Secret.passphrase("another"),
        )

    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "prosody/../../outside", ".."]
)
def test_no_file_is_written_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    forge(tmp_path / "file", tarfile.TarInfo(name))
    before = set(tmp_path.iterdir())

    with pytest.raises(ServerError, match="never holds"):
        restore(tmp_path / "file", tmp_path / "there", find)

    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_nothing_but_files_comes_out_of_a_backup(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("onion.key")
    entry.type, entry.linkname = kind, "/etc/passwd"
    forge(tmp_path / "file", entry)

    with pytest.raises(ServerError, match="never holds"):
        restore(tmp_path / "file", tmp_path / "there", find)

    assert not (tmp_path / "there").exists()


def test_a_backup_without_a_key_makes_no_server(tmp_path: Path) -> None:
    forge(tmp_path / "file", tarfile.TarInfo("prosody/certs/x.crt"))

    with pytest.raises(ServerError):
        restore(tmp_path / "file", tmp_path / "there", find)

    assert not (tmp_path / "there").exists()


def test_what_is_missing_behind_the_last_file_is_noticed(tmp_path: Path) -> None:
    chunk = 64 * 1024 + 16
    forge(tmp_path / "file", tarfile.TarInfo("onion.key"), behind=4 * chunk)
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[: -chunk - 64])

    with pytest.raises(ServerError, match="cut off"):
        restore(tmp_path / "file", tmp_path / "there", find)

    assert not (tmp_path / "there").exists()


def forge(path: Path, entry: tarfile.TarInfo, *, behind: int = 0) -> None:
    """Write what somebody with the passphrase could write."""
    with path.open("wb") as file:
        writer = SealedWriter(file, SECRET)
        with tarfile.open(fileobj=cast("BinaryIO", writer), mode="w|") as archive:
            archive.addfile(entry, BytesIO())
        writer.write(bytes(behind))
        writer.finish()


async def test_links_that_prosodys_user_planted_are_not_followed(
    server: Path, tmp_path: Path
) -> None:
    data = server / "prosody" / "data"
    (tmp_path / "secret").write_text("of somebody else")
    (data / "planted.dat").symlink_to(tmp_path / "secret")
    (data / "planted").symlink_to(tmp_path)

    await backup(server, tmp_path / "file", SECRET)
    restore(tmp_path / "file", tmp_path / "there", find)

    assert contents(tmp_path / "there").keys() == {
        name for name in contents(server) if "planted" not in name
    }


async def test_where_no_server_is_none_is_backed_up(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="there is no server"):
        await backup(tmp_path / "none", tmp_path / "file", SECRET)

    assert list(tmp_path.iterdir()) == []
