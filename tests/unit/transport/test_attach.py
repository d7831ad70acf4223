from concurrent.futures import Executor
from pathlib import Path

import pytest

from xmpp_onion.errors import AddressError, ControlPortError, TorNotRunningError
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import Act, FakeSocks
from xmpp_onion.transport import attach
from xmpp_onion.transport.attach import attached, read_place
from xmpp_onion.transport.dial import Endpoint

DEAD = Endpoint("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9051", Endpoint("127.0.0.1", 9051)),
        ("/run/tor/control", Path("/run/tor/control")),
        ("unix:/run/tor/control", Path("/run/tor/control")),
    ],
)
def test_a_control_port_is_a_port_or_a_socket(text: str, place: object) -> None:
    assert read_place(text) == place


def test_a_control_port_by_name_is_refused() -> None:
    with pytest.raises(AddressError):
        read_place("tor:9051")


async def test_a_socks_port_is_enough(pool: Executor) -> None:
    async with (
        FakeSocks() as proxy,
        attached(proxy.socks, None, password=None, pool=pool) as link,
    ):
        assert link.socks == proxy.socks
        assert link.control is None
        assert not link.has_ended


async def test_a_dead_socks_port_is_an_error(pool: Executor) -> None:
    with pytest.raises(TorNotRunningError, match=r"127\.0\.0\.1:1"):
        async with attached(DEAD, None, password=None, pool=pool):
            pass


async def test_the_usual_places_are_tried_in_turn(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeSocks() as proxy, FakeControl() as fake:
        places = {DEAD: (), proxy.socks: (Path("/nonexistent"), fake.place)}
        monkeypatch.setattr(attach, "_DEFAULTS", places)
        fake.answers["GETINFO"] = (
            f'250-net/listeners/socks="{proxy.socks}" "unix:/run/tor/socks"',
            "250 OK",
        )
        async with attached(None, None, password=None, pool=pool) as link:
            assert link.socks == proxy.socks
            assert link.control is not None


async def test_the_control_port_of_another_tor_is_not_used(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeSocks() as proxy, FakeControl() as fake:
        monkeypatch.setattr(attach, "_DEFAULTS", {proxy.socks: (fake.place,)})
        fake.answers["GETINFO"] = (
            '250-net/listeners/socks="127.0.0.1:9999"',
            "250 OK",
        )
        async with attached(None, None, password=None, pool=pool) as link:
            assert link.control is None


async def test_no_tor_anywhere_says_how_to_start_one(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_DEFAULTS", {DEAD: ()})

    with pytest.raises(TorNotRunningError, match="systemctl start tor"):
        async with attached(None, None, password=None, pool=pool):
            pass


async def test_a_listener_that_shares_circuits_stops_the_search(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeSocks(act=Act.OPEN) as proxy:
        monkeypatch.setattr(attach, "_DEFAULTS", {proxy.socks: ()})

        with pytest.raises(Exception, match="PreferSOCKSNoAuth"):
            async with attached(None, None, password=None, pool=pool):
                pass


async def test_a_locked_control_port_leaves_the_rest_usable(
    pool: Executor,
) -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl("SAFECOOKIE", "/nonexistent/cookie") as fake,
        attached(proxy.socks, fake.place, password=None, pool=pool) as link,
    ):
        assert link.control is None
        assert link.no_control is not None
        assert "adduser" in link.no_control.fix


async def test_a_wrong_password_is_an_error_at_once(
    pool: Executor,
) -> None:
    async with FakeSocks() as proxy, FakeControl("HASHEDPASSWORD") as fake:
        fake.answers["AUTHENTICATE"] = ("515 Authentication failed: Password did not",)

        with pytest.raises(ControlPortError, match="password is wrong"):
            async with attached(proxy.socks, fake.place, password="no", pool=pool):
                pass


async def test_a_control_port_that_was_named_has_to_be_there(pool: Executor) -> None:
    async with FakeSocks() as proxy:
        with pytest.raises(TorNotRunningError, match="control port"):
            async with attached(proxy.socks, DEAD, password=None, pool=pool):
                pass
