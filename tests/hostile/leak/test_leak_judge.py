"""The judge of leaks catches each kind of leak, bare slixmpp's among them."""

import sys
from pathlib import Path

import pytest

from xmpp_onion.testing import leak

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
BARE_SLIXMPP = Path(__file__).with_name("bare_slixmpp.py")
LISTEN = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
"""
SENDMMSG = """
import ctypes, socket, struct
inet = struct.pack("=H", socket.AF_INET) + struct.pack("!H", 53)
name = ctypes.create_string_buffer(inet + socket.inet_aton("127.0.0.9") + bytes(8))
fields = ctypes.addressof(name), 16, 0, 0, 0, 0, 0, 0
messages = ctypes.create_string_buffer(struct.pack("@PI4xPNPNi4xI4x", *fields))
any_socket = socket.socket(type=socket.SOCK_DGRAM)
ctypes.CDLL(None).sendmmsg(any_socket.fileno(), messages, 1, 0)
"""


async def judge_python(code: str) -> leak.Verdict:
    return await leak.judge([sys.executable, "-c", code])


async def test_bare_slixmpp_asks_a_resolver_for_the_onion() -> None:
    verdict = await leak.judge([sys.executable, str(BARE_SLIXMPP), f"bob@{ONION}"])

    assert verdict.status == 0, verdict.stderr
    caught = leak.leaks(verdict.calls, ports={9050})
    assert any(call.port == 53 and call.socket.startswith("UDP") for call in caught)
    assert {call.address for call in caught} == {"127.0.0.9"}  # went nowhere


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(
            "import socket; socket.socket().connect_ex(('127.0.0.1', 5222))",
            ("connect", "127.0.0.1", 5222),
            id="another port",
        ),
        pytest.param(
            "import socket; socket.socket().connect_ex(('192.0.2.1', 9050))",
            ("connect", "192.0.2.1", 9050),
            id="another host",
        ),
        pytest.param(
            "import socket; socket.socket(socket.AF_INET6).connect_ex(('::1', 53))",
            ("connect", "::1", 53),
            id="IPv6",
        ),
        pytest.param(
            "import socket; s = socket.socket(type=socket.SOCK_DGRAM); "
            "s.sendto(b'onion', ('127.0.0.1', 9050))",
            ("sendto", "127.0.0.1", 9050),
            id="a datagram to an allowed port",
        ),
        pytest.param(
            "import socket; s = socket.socket(type=socket.SOCK_DGRAM); "
            "s.sendmsg([b'onion'], [], 0, ('127.0.0.9', 53))",
            ("sendmsg", "127.0.0.9", 53),
            id="a message to a resolver",
        ),
        pytest.param(
            SENDMMSG, ("sendmmsg", "127.0.0.9", 53), id="many messages at once"
        ),
        pytest.param(
            "import socket; socket.socket().bind(('0.0.0.0', 8080))",
            ("bind", "0.0.0.0", 8080),  # noqa: S104 - what must be caught
            id="an open listener",
        ),
        pytest.param(
            "import asyncio, threading; "
            "t = threading.Thread(target=__import__('os').system, "
            "args=('getent hosts example.org',)); t.start(); t.join()",
            ("connect", "127.0.0.9", 53),
            id="a child of a thread that resolves",
        ),
        pytest.param(
            "import ctypes; ctypes.CDLL(None).syscall(425, 1, bytes(128))",
            ("io_uring_setup", "", 0),
            id="io_uring",
        ),
    ],
)
async def test_a_leak_is_caught(code: str, expected: tuple[str, str, int]) -> None:
    verdict = await judge_python(code)

    caught = leak.leaks(verdict.calls, ports={9050})
    assert expected in {(call.syscall, call.address, call.port) for call in caught}


async def test_an_allowed_connection_is_no_leak_and_any_other_is() -> None:
    verdict = await judge_python(
        LISTEN + "print(port); socket.create_connection(('127.0.0.1', port))"
    )

    port = int(verdict.stdout)
    assert verdict.status == 0
    assert leak.leaks(verdict.calls, ports={port}) == []
    assert leak.leaks(verdict.calls, ports=None) == []
    assert [call.port for call in leak.leaks(verdict.calls)] == [port]


async def test_a_unix_socket_is_allowed_only_below_our_folders(tmp_path: Path) -> None:
    verdict = await judge_python(
        f"""
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(tmp_path / "agent")!r})
listener.listen()
socket.socket(socket.AF_UNIX).connect({str(tmp_path / "agent")!r})
socket.socket(socket.AF_UNIX).connect_ex({str(tmp_path / "not-there")!r})
"""
    )

    assert verdict.status == 0, verdict.stderr
    assert leak.leaks(verdict.calls, unix=[tmp_path]) == []
    caught = leak.leaks(verdict.calls)
    assert {(call.syscall, call.address) for call in caught} == {
        ("bind", str(tmp_path / "agent")),
        ("connect", str(tmp_path / "agent")),
    }


async def test_calls_tell_the_programs_that_made_them() -> None:
    verdict = await judge_python(
        "import socket, subprocess; socket.socket().connect_ex(('127.0.0.1', 1)); "
        "subprocess.run(['getent', 'hosts', 'example.org'])"
    )

    assert {call.port for call in verdict.of("python")} == {1}
    assert 53 in {call.port for call in verdict.of("getent")}


async def test_a_program_that_becomes_another_is_called_by_its_new_name() -> None:
    verdict = await judge_python(
        "import os, socket; socket.socket().connect_ex(('127.0.0.1', 1)); "
        "os.execvp('getent', ['getent', 'hosts', 'example.org'])"
    )

    assert {call.port for call in verdict.of("python")} == {1}
    assert 53 in {call.port for call in verdict.of("getent")}


async def test_no_packet_can_leave_the_namespace() -> None:
    verdict = await judge_python(
        "import socket; print(socket.if_nameindex(), "
        "socket.socket().connect_ex(('192.0.2.1', 80)))"
    )

    assert verdict.stdout.strip() == "[(1, 'lo')] 101"  # ENETUNREACH


async def test_what_was_sent_stays_out_of_the_trace() -> None:
    verdict = await judge_python(
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); "
        "s.sendto(b'{sa_family=AF_INET, canary}', ('127.0.0.1', 9))"
    )

    assert "canary" not in repr(verdict.calls)
    assert len(verdict.calls) == 1


async def test_status_and_output_of_the_command_come_through() -> None:
    verdict = await judge_python("import sys; print('out'); sys.exit('bad')")

    assert (verdict.status, verdict.stdout, verdict.stderr) == (1, "out\n", "bad\n")


async def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(TimeoutError):
        await leak.judge(
            [sys.executable, "-c", "import time; time.sleep(60)"], timeout=1.0
        )


async def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(leak.JudgeError, match="unshare is not installed"):
        await judge_python("")
