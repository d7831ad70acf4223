"""A server's folder is made, and made whole, without Prosody."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError, StorePermissionError
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import complete, initialise
from xmpp_onion.transport import create_key


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_initialise_changes_nothing(tmp_path: Path) -> None:
    onion = initialise(tmp_path / "server")
    before = snapshot(tmp_path / "server")

    assert initialise(tmp_path / "server") == onion
    assert snapshot(tmp_path / "server") == before


def test_two_folders_are_two_servers(tmp_path: Path) -> None:
    assert initialise(tmp_path / "a") != initialise(tmp_path / "b")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], ids=oct)
def test_keys_are_private_from_their_first_moment(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        initialise(tmp_path / "server")
    finally:
        os.umask(old)

    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in tmp_path.rglob("*")
        if path.suffix == ".key" or path.is_dir()
    }
    assert modes.pop("server") == 0o700
    assert modes.pop("data") == 0o700
    assert {modes.pop(name) for name in ("prosody", "certs", "modules")} == {0o750}
    assert set(modes.values()) == {0o600}


def test_a_folder_made_beforehand_is_closed_if_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir(mode=0o755)

    initialise(tmp_path / "server")

    assert (tmp_path / "server").stat().st_mode & 0o777 == 0o700


def test_an_open_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir(mode=0o755)
    create_key(tmp_path / "server" / "onion.key")

    with pytest.raises(StorePermissionError) as caught:
        initialise(tmp_path / "server")

    assert caught.value.why == "others can reach it (mode 0755)"


def test_a_linked_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "server")

    with pytest.raises(StorePermissionError, match="symbolic link"):
        initialise(tmp_path / "link")

    assert (tmp_path / "server").stat().st_mode & 0o777 == 0o755
    assert not list((tmp_path / "server").iterdir())


@pytest.mark.parametrize("name", ["onion.key", "other.key", "prosody/certs/*.key"])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    initialise(tmp_path)
    (tmp_path / "other.key").touch(mode=0o600)  # of another door
    key = next(tmp_path.glob(name))
    key.chmod(0o644)

    with pytest.raises(StorePermissionError) as caught:
        initialise(tmp_path)

    assert str(key) in caught.value.what
    assert caught.value.fix == f"chmod 600 {key}"


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "server").touch()

    with pytest.raises(ServerError, match="cannot be set up"):
        initialise(tmp_path / "server")


def test_damaged_options_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    initialise(tmp_path)
    (tmp_path / "server.json").write_text("{")

    with pytest.raises(ServerError) as caught:
        initialise(tmp_path)

    assert f"rm -f {tmp_path}/server.json" in caught.value.fix


def test_the_onion_key_is_out_of_prosodys_reach(tmp_path: Path) -> None:
    initialise(tmp_path)

    assert (tmp_path / "onion.key").stat().st_uid == os.geteuid()
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_a_folder_of_the_first_version_keeps_its_ports(tmp_path: Path) -> None:
    initialise(tmp_path)
    (tmp_path / "server.json").write_text(
        '{"v": 1, "c2s_port": 20001, "http_port": 20002}\n'
    )

    initialise(tmp_path)

    options = Folder(tmp_path, None).read_options()
    assert options.ports[:2] == (20001, 20002)
    assert all(options.ports)
    config = (tmp_path / "prosody" / "prosody.cfg.lua").read_text()
    assert "{ 20001 }" in config


def test_no_server_is_made_among_other_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "letters").touch()

    with pytest.raises(ServerError) as caught:
        initialise(home)

    assert "'letters'" in caught.value.why
    home.chmod(0o755)
    with pytest.raises(ServerError, match="no server is made"):
        initialise(home)  # and nobody is told to close it: it is no server's
    assert [path.name for path in home.iterdir()] == ["letters"]


def test_a_start_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    place = tmp_path / "server"
    for name in ("", "tor", "prosody", "prosody/certs", "prosody/data"):
        (place / name).mkdir(mode=0o700)
    (place / "onion.key.0123.new").touch(mode=0o600)

    onion = initialise(place)

    assert initialise(place) == onion


def test_a_server_goes_on_among_files_that_came_later(tmp_path: Path) -> None:
    onion = initialise(tmp_path / "server")
    (tmp_path / "server" / "notes").touch()

    assert initialise(tmp_path / "server") == onion


def lose_key(place: Folder) -> None:
    place.key_file.unlink()


def change_key(place: Folder) -> None:
    place.key_file.unlink()
    create_key(place.key_file)


def lose_key_of_old_folder(place: Folder) -> None:
    place.address_file.unlink()
    place.key_file.unlink()


def spoil_address(place: Folder) -> None:
    place.address_file.write_bytes(b"\xff")


@pytest.mark.parametrize(
    "spoil", [lose_key, change_key, lose_key_of_old_folder, spoil_address]
)
def test_no_other_address_takes_the_place_of_the_known_one(
    tmp_path: Path, spoil: Callable[[Folder], None]
) -> None:
    place = Folder(tmp_path / "server", find_unprivileged_user())
    onion = complete(place)
    key = place.key_file.read_bytes()
    spoil(place)
    before = place.key_file.exists() and place.key_file.read_bytes()

    with pytest.raises(ServerError, match="has lost its address") as caught:
        complete(place)

    assert "server restore" in caught.value.fix
    assert (place.key_file.exists() and place.key_file.read_bytes()) == before
    place.key_file.write_bytes(key)
    place.key_file.chmod(0o600)
    if spoil is not spoil_address:
        assert onion in str(caught.value)
        assert complete(place) == onion


def test_a_folder_of_before_notes_its_address(tmp_path: Path) -> None:
    place = Folder(tmp_path / "server", find_unprivileged_user())
    onion = complete(place)
    place.address_file.unlink()

    assert complete(place) == onion
    assert place.address_file.read_text() == f"{onion}\n"


def test_what_is_no_key_and_was_left_open_is_closed_at_the_start(
    tmp_path: Path,
) -> None:
    place = Folder(tmp_path / "server", find_unprivileged_user())
    complete(place)
    place.options_file.chmod(0o644)
    place.data.chmod(0o755)

    complete(place)

    assert stat.S_IMODE(place.options_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
