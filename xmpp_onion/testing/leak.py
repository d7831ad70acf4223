"""A judge of leaks: the kernel says where a program tried to send something.

A hook inside Python sees what Python does; the resolver that the XMPP library
brings is written in C, and passes it by. So the witness here is ``strace``, and a
network namespace makes sure that what it sees goes nowhere::

    verdict = await judge([sys.executable, "client.py"])
    assert verdict.status == 0
    assert not leaks(verdict.calls, ports={9050})

The command may start programs of its own, a Tor network among them; each call
names the program that made it.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from xmpp_onion.errors import XmppOnionError

__all__ = ["Call", "JudgeError", "Verdict", "judge", "leaks", "read_trace"]

# Where an address can be named; a connected socket was judged when it connected.
# io_uring can do all of it unseen, so its set-up counts as a leak.
# From execve on a process has another name, which strace is late to notice.
_SYSCALLS = "connect,bind,sendto,sendmsg,sendmmsg,io_uring_setup,execve,execveat"
_DNS_PORT = 53
_NAME_CHARACTERS = 15  # what the kernel keeps of a program's name
_SINK = "127.0.0.9"  # loopback, and nobody listens

_LINE = re.compile(r"(?P<pid>\d+)<(?P<program>.*?)> (?P<rest>.*)")
_ENTRY = re.compile(r"(?P<syscall>\w+)\((?:-?\d+<(?P<socket>[\w-]+):?.*?>(?=[,)]))?")
_RESULT = re.compile(r"\) += (?P<result>-?\d+(?: E\w+)?)")
_RESUMED = re.compile(r"<\.\.\. (?P<syscall>\w+) resumed>")
_EXECUTED = re.compile(r'execve\("(?:[^"]*/)?(?P<name>[^"/]+)"')
_ADDRESS = re.compile(r"\{sa_family=(?P<family>\w+)(?P<body>[^{}]*)\}")
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_HOST = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
_PATH = re.compile(r'sun_path=(@?"(?:[^"\\]|\\.)*")')

# Runs inside the namespace, where only loopback exists and is down.
_INSIDE = """
import fcntl, os, socket, struct, subprocess, sys
sink, uid, gid, *command = sys.argv[1:]
up = struct.pack("16sh14x", b"lo", 0x41)  # IFF_UP | IFF_RUNNING
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
if os.path.exists("/etc/resolv.conf"):
    subprocess.run(["mount", "--bind", sink, "/etc/resolv.conf"], check=True)
if uid != "0":  # back to the user, whom the namespace made root to get this far
    back = ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--"]
    command = back + command
os.execvp(command[0], command)
"""


class JudgeError(XmppOnionError):
    """The judge cannot sit: a program is missing, or the kernel refuses."""


class Call(NamedTuple):
    """One address that a program named to the kernel.

    Attributes:
        pid: Of the thread.
        program: Its name to the kernel, at most 15 characters: ``python3``, ``tor``.
        syscall: ``connect``, ``bind``, ``sendto``, ``sendmsg``, ``sendmmsg`` or
            ``io_uring_setup`` (with no address).
        socket: What strace calls it: ``TCP``, ``UDP``, ``UNIX-STREAM``; empty if
            it could not tell.
        family: ``AF_INET``, ``AF_INET6``, ``AF_UNIX``, …
        address: Host or path; a name in the abstract namespace begins with ``@``.
        port: 0 where there is none.
        result: ``0``, ``-1 ENOENT``, …; empty if the program ended before it.
    """

    pid: int
    program: str
    syscall: str
    socket: str
    family: str
    address: str
    port: int
    result: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judged command did.

    Attributes:
        status: Its exit status; negative for a signal.
        stdout: What it wrote.
        stderr: What it complained about.
        calls: Each address it named, and all that it started, in order.
    """

    status: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    calls: tuple[Call, ...] = field(repr=False)

    def of(self, *programs: str) -> tuple[Call, ...]:
        """Return the calls of programs whose names begin with one of these."""
        return tuple(call for call in self.calls if call.program.startswith(programs))


def leaks(
    calls: Iterable[Call],
    *,
    ports: Collection[int] | None = (),
    unix: Collection[Path] = (),
) -> list[Call]:
    """Return the calls that were not allowed.

    Allowed are: TCP to ``ports`` of loopback, listening on loopback, Unix sockets
    below ``unix`` and those that are not there at all (the C library looks for a
    name cache), netlink. All else is a leak: another host, another port, any
    datagram, any word to port 53, a Unix socket of somebody else (a resolver may
    sit behind it), a listener that is open to the network, io_uring.

    Args:
        calls: Usually ``verdict.calls``, or those of one program.
        ports: The SOCKS and the control port; None: any but 53, for a Tor network
            that talks to itself.
        unix: Sockets, or folders of them, that are ours.
    """
    return [call for call in calls if not _is_allowed(call, ports, unix)]


def _is_allowed(
    call: Call, ports: Collection[int] | None, unix: Collection[Path]
) -> bool:
    match call.family:
        case "AF_NETLINK" | "AF_UNSPEC":  # neither leaves the kernel
            return True
        case "AF_UNIX":
            is_absent = call.result.endswith(("ENOENT", "ECONNREFUSED"))
            path = Path(os.path.normpath(call.address))
            return is_absent or any(path.is_relative_to(ours) for ours in unix)
        case "AF_INET" | "AF_INET6" if ip_address(call.address).is_loopback:
            is_allowed = call.port != _DNS_PORT if ports is None else call.port in ports
            is_allowed = is_allowed or call.syscall == "bind"
            return is_allowed and not call.socket.startswith("UDP")
        case _:
            return False


def read_trace(text: str) -> list[Call]:
    """Parse what ``strace -f -Y -yy -v`` wrote; lines without an address are left out.

    A call that another thread interrupted stands on two lines: its address on the
    first, its result on the second.
    """
    calls: list[Call] = []
    names: dict[int, str] = {}
    unfinished: dict[int, tuple[range, str]] = {}
    for line in filter(None, map(_LINE.fullmatch, text.splitlines())):
        pid, rest = int(line["pid"]), line["rest"]
        ending = _RESULT.search(rest)
        result = ending["result"] if ending else ""
        if _RESUMED.match(rest):
            found, name = unfinished.pop(pid, (range(0), ""))
            for index in found:
                calls[index] = calls[index]._replace(result=result)
        else:
            first = len(calls)
            calls += _read_calls(pid, names.get(pid, line["program"]), rest, result)
            name = executed["name"] if (executed := _EXECUTED.match(rest)) else ""
            unfinished[pid] = range(first, len(calls)), name
        if name and result == "0":
            names[pid] = name[:_NAME_CHARACTERS]
    return calls


def _read_calls(pid: int, program: str, rest: str, result: str) -> Iterator[Call]:
    entry = _ENTRY.match(rest)
    if entry is None:
        return
    syscall, socket = entry["syscall"], entry["socket"] or ""
    if syscall == "io_uring_setup":
        yield Call(pid, program, syscall, "", "", "", 0, result)
    for found in _ADDRESS.finditer(rest):
        body = found["body"]
        port, host, path = (each.search(body) for each in (_PORT, _HOST, _PATH))
        address = host[1] if host else path[1].replace('"', "") if path else ""
        number = int(port[1]) if port else 0
        family = found["family"]
        yield Call(pid, program, syscall, socket, family, address, number, result)


async def judge(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> Verdict:
    """Run ``command`` where nothing can leave the machine, and see what it tries.

    It gets a network namespace with nothing but loopback and a resolver address
    that nobody answers. Root is not needed where the system lets users make
    namespaces. What it leaves running is ended.

    Args:
        command: Program and arguments.
        env: Its environment; None: ours.
        timeout: Seconds for the whole run. Tracing costs little: the kernel stops
            a program only at the calls that are judged.

    Raises:
        JudgeError: ``strace`` or ``unshare`` is missing, or namespaces are
            forbidden here.
        TimeoutError: It did not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="xmpp-onion-leak-") as folder:
        trace = Path(folder, "trace")
        line = [*_isolated(_make_sink(Path(folder))), *_traced(trace), *command]
        status, stdout, stderr = await _run(line, env, timeout)
        calls = _read_file(trace)
    if calls is None:
        raise JudgeError(
            "no judgement could be made",
            why=stderr.strip()[-500:] or f"exit status {status}",
            fix="Run it as root, or allow user namespaces and ptrace.",
        )
    return Verdict(status, stdout, stderr, tuple(calls))


def _make_sink(folder: Path) -> Path:
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {_SINK}\noptions timeout:1 attempts:1\n")
    path.chmod(0o644)
    return path


def _read_file(trace: Path) -> list[Call] | None:
    return read_trace(trace.read_text(errors="replace")) if trace.exists() else None


def _isolated(sink: Path) -> list[str]:
    uid, gid = os.getuid(), os.getgid()
    as_root = [] if uid == 0 else ["--user", "--map-root-user"]
    unshare = [_program("unshare"), *as_root, "--net", "--mount", "--"]
    return [*unshare, sys.executable, "-Ic", _INSIDE, str(sink), str(uid), str(gid)]


def _traced(output: Path) -> list[str]:
    # -s 0 keeps contents out of the file; -v shows each message of a sendmmsg.
    options = ["-f", "--seccomp-bpf", "-Y", "-yy", "-v", "-s", "0", "-qq"]
    calls = ["-e", f"trace={_SYSCALLS}", "-e", "signal=none"]
    return [_program("strace"), *options, *calls, "-o", str(output), "--"]


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = {"unshare": "util-linux"}.get(name, name)
        raise JudgeError(
            f"the program {name} is not installed", fix=f"sudo apt install {package}"
        )
    return path


async def _run(
    line: list[str], env: Mapping[str, str] | None, timeout: float
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    assert process.returncode is not None  # noqa: S101 - waited for
    return process.returncode, stdout.decode(), stderr.decode()
