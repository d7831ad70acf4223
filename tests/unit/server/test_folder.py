"""What lies in a server's folder, and who may read it."""

import stat
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError, StorePermissionError
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import initialise


def test_an_empty_folder_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        Folder(tmp_path, find_unprivileged_user()).read_onion()

    assert "server init" in caught.value.fix


def test_lines_for_tor_are_read_where_nobody_else_wrote_them(tmp_path: Path) -> None:
    place = Folder(tmp_path, None)
    assert place.read_torrc() == ()
    place.torrc_file.write_text("UseBridges 1\nBridge 192.0.2.1:443\n")

    place.torrc_file.chmod(0o666)
    with pytest.raises(StorePermissionError):
        place.read_torrc()
    place.torrc_file.chmod(0o600)

    assert place.read_torrc() == ("UseBridges 1", "Bridge 192.0.2.1:443")


def test_a_key_has_its_owner_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise(tmp_path / "server")
    place = Folder(tmp_path / "server", find_unprivileged_user())
    other = OnionAddress.from_public_key(bytes(32))

    def be_killed(_place: Folder, _path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "give_away", be_killed)
        with pytest.raises(KeyboardInterrupt):
            place.make_certificate(other)

    assert not (place.prosody / "certs" / f"{other}.key").exists()
    assert len(place.make_certificate(other)) == 64
    assert initialise(place.path) == place.read_onion()


def test_a_folder_is_shared_with_a_group_and_given_away_to_a_user(
    tmp_path: Path,
) -> None:
    place = Folder(tmp_path, find_unprivileged_user())

    for _ in range(2):  # what is there is left as it is
        place.make_shared(tmp_path / "shared")
    (tmp_path / "given").mkdir(mode=0o700)
    (tmp_path / "given" / "file").touch(mode=0o600)
    place.give_away(tmp_path / "given")

    shared = (tmp_path / "shared").stat()
    assert stat.S_IMODE(shared.st_mode) == 0o750
    assert shared.st_uid == tmp_path.stat().st_uid
    if place.run_as is not None:
        assert shared.st_gid == place.run_as.gid
    for path in ("given", "given/file"):
        assert (tmp_path / path).stat().st_uid == place.prosody_uid
