"""What the kernel says about connections; a /proc of files, and our own."""

import asyncio
import socket
from pathlib import Path

import pytest

from xmpp_onion.transport.witness import connections, is_beside_tor, listeners

TOR = frozenset({("10.152.152.10", 9050)})


def test_a_connection_of_ours_is_seen_and_one_of_others_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        before = connections()
        with socket.socket() as client:
            client.connect(place)
            during = connections()

    assert before is not None
    assert during is not None
    assert place not in before
    assert place in during


def test_who_listens_and_who_waits_for_datagrams_is_seen() -> None:
    own = Path("/proc/self")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as other,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
        socket.socket() as client,
    ):
        client.connect(server.getsockname())
        asking.bind(("127.0.0.1", 0))
        found = listeners(own)
        ends = {server.getsockname(), other.getsockname()[:2], asking.getsockname()}
        connected = client.getsockname()

    assert found is not None
    assert ends <= found
    assert connected not in found
    assert not ends & (listeners(own) or set())
    assert listeners(own / "nothing") is None


def test_connections_of_version_6_are_seen() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        socket.socket(socket.AF_INET6) as client,
    ):
        client.connect(server.getsockname())
        found = connections()

    assert found is not None
    assert any(host == "::1" for host, _ in found)


def test_a_question_that_is_on_its_way_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", 53))  # sends nothing yet

        assert ("127.0.0.1", 53) in (connections() or ())


def test_a_system_that_does_not_tell_is_no_all_clear(tmp_path: Path) -> None:
    assert connections(tmp_path / "nowhere") is None


async def test_unix_sockets_do_not_count(tmp_path: Path) -> None:
    before = connections()
    server = await asyncio.start_unix_server(lambda _r, _w: None, tmp_path / "x")
    async with server:
        assert connections() == before


@pytest.mark.parametrize(
    ("end", "is_beside"),
    [
        (("10.152.152.10", 9050), False),  # the Tor that we were given
        (("10.152.152.10", 443), True),
        (("127.0.0.1", 9050), False),
        (("::1", 5222), False),
        (("192.0.2.7", 5222), True),
        (("2001:db8::1", 443), True),
        (("127.0.0.53", 53), True),  # a resolver asks others
    ],
)
def test_what_may_leave_this_machine_is_beside_tor(
    end: tuple[str, int], *, is_beside: bool
) -> None:
    assert is_beside_tor(end, TOR) is is_beside
