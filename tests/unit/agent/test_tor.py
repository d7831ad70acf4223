from pathlib import Path

import pytest

from xmpp_onion.agent.tor import find_server_tor, find_tor
from xmpp_onion.errors import AddressError, TorNotFoundError, TorNotRunningError
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.transport import Tor


async def test_a_tor_that_was_named_is_the_only_one_tried(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    with pytest.raises(TorNotRunningError):
        async with find_tor(tmp_path / "tor", socks=f"127.0.0.1:{port}"):
            raise AssertionError("another Tor was used")

    assert not (tmp_path / "tor").exists()


async def test_a_name_is_no_place_for_tor(tmp_path: Path) -> None:
    with pytest.raises(AddressError):
        async with find_tor(tmp_path / "tor", socks="example.org:9050"):
            raise AssertionError("it was resolved")


async def test_no_tor_at_all_is_an_error_that_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("xmpp_onion.transport.attach._DEFAULTS", {})

    with pytest.raises(TorNotFoundError) as caught:
        async with find_tor(tmp_path / "tor"):
            raise AssertionError("there is none")

    assert "install" in caught.value.fix.lower()


@pytest.mark.tornet
async def test_a_server_has_a_tor_of_its_own_also_where_another_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = (
        "TestingTorNetwork 1",
        f"DirAuthority dead orport=1 v3ident={'A' * 40} 127.0.0.1:1 {'B' * 40}",
    )
    async with Tor.launch(tmp_path / "other", extra=dead) as other:
        places = {other.socks: ()}
        monkeypatch.setattr("xmpp_onion.transport.attach._DEFAULTS", places)

        async with find_server_tor(tmp_path / "tor", extra=dead) as own:
            assert (own.is_own, own.socks == other.socks) == (True, False)
        async with find_server_tor(tmp_path / "x", socks=str(other.socks)) as named:
            assert (named.is_own, named.socks) == (False, other.socks)
        monkeypatch.setenv("PATH", str(tmp_path))
        async with find_server_tor(tmp_path / "x") as only:
            assert (only.is_own, only.socks) == (False, other.socks)
        assert not (tmp_path / "x").exists()
