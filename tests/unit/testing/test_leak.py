"""Reading a trace, and what counts as a leak: pure text, no program runs."""

from pathlib import Path

import pytest

from xmpp_onion.testing.leak import Call, leaks, read_trace


def line(rest: str, pid: int = 7, program: str = "python3") -> str:
    return f"{pid}<{program}> {rest}\n"


def inet(port: int, host: str = "127.0.0.1") -> str:
    return (
        f"{{sa_family=AF_INET, sin_port=htons({port}), "
        f'sin_addr=inet_addr("{host}")}}, 16'
    )


def test_a_connect_is_read() -> None:
    (call,) = read_trace(
        line(f"connect(4<TCP:[529]>, {inet(9050)}) = -1 EINPROGRESS (Operation now…)")
    )

    assert call == Call(
        pid=7,
        program="python3",
        syscall="connect",
        socket="TCP",
        family="AF_INET",
        address="127.0.0.1",
        port=9050,
        result="-1 EINPROGRESS",
    )


def test_a_socket_with_two_ends_is_read() -> None:
    (call,) = read_trace(
        line(
            "sendto(7<UDP:[127.0.0.1:55320->127.0.0.9:53]>, "
            f'""..., 25, MSG_NOSIGNAL, {inet(53, "127.0.0.9")}) = 25'
        )
    )

    assert (call.socket, call.address, call.port) == ("UDP", "127.0.0.9", 53)


def test_an_interrupted_call_gets_its_result_and_another_thread_its_own() -> None:
    calls = read_trace(
        line(f"connect(4<TCP:[1]>, {inet(1)} <unfinished ...>", pid=7)
        + line(f"connect(5<TCP:[2]>, {inet(2)}) = 0", pid=8)
        + line("<... connect resumed>) = -1 ECONNREFUSED (Connection refused)", pid=7)
    )

    assert [(call.pid, call.port, call.result) for call in calls] == [
        (7, 1, "-1 ECONNREFUSED"),
        (8, 2, "0"),
    ]


EXECUTED = 'execve("/usr/bin/a-very-long-program-name", [""...], [""...]'


@pytest.mark.parametrize(
    "executed",
    [
        line(f"{EXECUTED}) = 0"),
        line(f"{EXECUTED} <unfinished ...>") + line("<... execve resumed>) = 0"),
    ],
)
def test_a_process_has_its_new_name_from_execve_on(executed: str) -> None:
    connect = line(f"connect(4<TCP:[1]>, {inet(1)}) = 0")

    calls = read_trace(connect + executed + connect)

    assert [call.program for call in calls] == ["python3", "a-very-long-pro"]


def test_a_failed_execve_changes_no_name() -> None:
    connect = line(f"connect(4<TCP:[1]>, {inet(1)}) = 0")

    calls = read_trace(line(f"{EXECUTED}) = -1 ENOENT (No such file)") + connect)

    assert [call.program for call in calls] == ["python3"]


def test_each_message_of_a_sendmmsg_is_read() -> None:
    calls = read_trace(
        line(
            f"sendmmsg(7<UDP:[9]>, [{{msg_hdr={{msg_name={inet(53, '192.0.2.1')}}}}}, "
            f"{{msg_hdr={{msg_name={inet(53, '192.0.2.2')}}}}}], 2, 0) = 2"
        )
    )

    assert [call.address for call in calls] == ["192.0.2.1", "192.0.2.2"]


def test_ipv6_is_read() -> None:
    (call,) = read_trace(
        line(
            "connect(6<TCPv6:[5]>, {sa_family=AF_INET6, sin6_port=htons(53), "
            'sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), '
            "sin6_scope_id=0}, 28) = 0"
        )
    )

    assert (call.socket, call.address, call.port) == ("TCPv6", "::1", 53)


@pytest.mark.parametrize(
    ("sun_path", "address"), [('"/run/x"', "/run/x"), ('@"bus"', "@bus")]
)
def test_a_unix_socket_is_read(sun_path: str, address: str) -> None:
    (call,) = read_trace(
        line(
            "connect(5<UNIX-STREAM:[5]>, "
            f"{{sa_family=AF_UNIX, sun_path={sun_path}}}, 20) = 0"
        )
    )

    assert (call.family, call.address) == ("AF_UNIX", address)


@pytest.mark.parametrize(
    "rest",
    [
        "sendto(3<TCP:[127.0.0.1:1->127.0.0.1:2]>, ..., 5, 0, NULL, 0) = 5",
        "+++ exited with 0 +++",
        "strace: Process 8 attached",
    ],
)
def test_a_line_without_an_address_is_left_out(rest: str) -> None:
    assert read_trace(line(rest)) == []


def call(
    *,
    syscall: str = "connect",
    socket: str = "TCP",
    family: str = "AF_INET",
    address: str = "127.0.0.1",
    port: int = 9050,
    result: str = "0",
) -> Call:
    return Call(7, "python3", syscall, socket, family, address, port, result)


@pytest.mark.parametrize(
    "allowed",
    [
        call(),
        call(syscall="bind", port=0),
        call(family="AF_NETLINK", address=""),
        call(family="AF_UNSPEC", address=""),
        call(family="AF_UNIX", address="/ours/agent", port=0),
        call(family="AF_UNIX", address="/var/run/nscd/socket", result="-1 ENOENT"),
    ],
)
def test_what_is_allowed_is_no_leak(allowed: Call) -> None:
    assert leaks([allowed], ports={9050}, unix=[Path("/ours")]) == []


@pytest.mark.parametrize(
    "leak",
    [
        call(port=53),
        call(port=5222),
        call(address="192.0.2.1"),
        call(socket="UDP"),
        call(socket="UDPv6", family="AF_INET6", address="::1"),
        call(syscall="bind", address="0.0.0.0"),  # noqa: S104 - what must be caught
        call(syscall="bind", socket="UDP"),
        call(family="AF_PACKET", address=""),
        call(family="AF_UNIX", address="/run/systemd/resolve/io.systemd.Resolve"),
        call(family="AF_UNIX", address="/ours/../run/dbus"),
        call(syscall="io_uring_setup", family="", address=""),
    ],
)
def test_what_is_not_allowed_is_a_leak(leak: Call) -> None:
    assert leaks([leak], ports={9050}, unix=[Path("/ours")]) == [leak]


def test_without_a_list_of_ports_only_that_of_dns_is_forbidden() -> None:
    calls = [call(port=1), call(port=53)]

    assert leaks(calls, ports=None) == [calls[1]]
