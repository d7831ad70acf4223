"""Prosody as our child: where it listens, as whom it runs, and how it ends."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import pytest

from xmpp_onion.errors import (
    ProsodyError,
    ServerError,
)
from xmpp_onion.server import Federation, Prosody, initialise, stop
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.log import LOG_LIMIT_BYTES
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

LISTEN = "0A"
LOOPBACK = "0100007F"  # 127.0.0.1 as /proc/net/tcp writes it


def socket_inodes(pid: int) -> set[str]:
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            links.append(str(descriptor.readlink()))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def own_listeners(pid: int) -> list[tuple[str, int]]:
    """Return the address and port of every TCP socket that a process listens on."""
    inodes = socket_inodes(pid)
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            row = line.split()
            if row[3] == LISTEN and row[9] in inodes:
                address, _, port = row[1].partition(":")
                found.append((address, int(port, 16)))
    return sorted(found)


def udp_sockets(pid: int) -> list[str]:
    inodes = socket_inodes(pid)
    return [
        line
        for table in ("udp", "udp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[9] in inodes
    ]


def read_status(pid: int, field: str) -> list[str]:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return rest.split()
    raise AssertionError(field)


def is_alive(pid: int) -> bool:
    try:
        return read_status(pid, "State")[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while is_alive(pid):  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(0.02)


def find_files(folder: Path, pattern: str = "*") -> list[Path]:
    return [path for path in folder.rglob(pattern) if not path.is_dir()]


def holds(folder: Path, text: bytes) -> bool:
    """Whether any file below a folder contains something."""
    return any(
        text in path.read_bytes() for path in find_files(folder) if path.is_file()
    )


def link_programs(folder: Path, *names: str) -> Path:
    """Make a folder that is a PATH with these programs alone."""
    # Python changes the user before it looks for the program, so that this way,
    # other than setpriv's, needs folders which that user can enter.
    outermost = Path(tempfile.gettempdir())
    for place in (folder, *folder.parents):
        if place == outermost:
            break
        place.mkdir(mode=0o711, exist_ok=True)
        place.chmod(0o711)
    for name in names:
        found = shutil.which(name)
        assert found is not None, name
        (folder / Path(name).name).symlink_to(found)
    return folder


@pytest.fixture
async def taken_port() -> AsyncIterator[int]:
    """A port that somebody else listens on."""
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def run_to_end(*command: str, cwd: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_it_listens_on_loopback_alone(prosody: Prosody) -> None:
    ports = sorted(prosody.options.listening_ports)

    assert own_listeners(prosody.pid) == [(LOOPBACK, port) for port in ports]
    assert udp_sockets(prosody.pid) == []


async def test_it_does_not_run_as_root(prosody: Prosody) -> None:
    user = find_unprivileged_user()
    uid, gid = (os.getuid(), os.getgid()) if user is None else user

    assert read_status(prosody.pid, "Uid") == [str(uid)] * 4
    assert read_status(prosody.pid, "Gid") == [str(gid)] * 4
    assert read_status(prosody.pid, "NoNewPrivs") == ["1"]
    if user is not None:
        assert read_status(prosody.pid, "Groups") == []
        assert int(read_status(prosody.pid, "CapEff")[0], 16) == 0


async def test_it_writes_nothing_that_others_can_read(
    prosody: Prosody, tmp_path: Path
) -> None:
    await prosody.add_account("alice", "a password")
    data = tmp_path / "server" / "prosody" / "data"

    assert data.stat().st_mode & 0o777 == 0o700
    accounts = [path for path in data.rglob("*.dat") if path.parent.name == "accounts"]
    assert [path.stat().st_mode & 0o077 for path in accounts] == [0]


async def test_only_a_salted_hash_of_a_password_is_kept(
    prosody: Prosody, tmp_path: Path
) -> None:
    await prosody.add_account("alice", "canary-of-a-password")

    assert not holds(tmp_path, b"canary-of-a-password")
    assert holds(tmp_path, str(prosody.onion).encode())


async def test_the_log_names_nobody(prosody: Prosody, tmp_path: Path) -> None:
    await prosody.add_account("alice", "a password")
    log_file = tmp_path / "server" / "prosody" / "data" / "prosody.log"

    assert b"alice" not in log_file.read_bytes()


async def test_ending_leaves_no_process_and_no_socket(
    prosody_program: str, tmp_path: Path
) -> None:
    async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
        pid = prosody.pid

    assert not is_alive(pid)
    assert not find_files(tmp_path, "*.sock")


async def test_a_second_start_keeps_address_certificate_and_accounts(
    prosody_program: str, tmp_path: Path
) -> None:
    async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
        before = (prosody.onion, prosody.certificate_fingerprint, prosody.c2s_port)
        await prosody.add_account("alice", "a password")

    async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
        after = (prosody.onion, prosody.certificate_fingerprint, prosody.c2s_port)
        with pytest.raises(ServerError, match="it exists already"):
            await prosody.add_account("alice", "another")

    assert after == before


async def test_a_moved_folder_is_the_same_server(
    prosody_program: str, tmp_path: Path
) -> None:
    async with Prosody(tmp_path / "old", program=prosody_program) as prosody:
        onion = prosody.onion
    (tmp_path / "old").rename(tmp_path / "new")

    async with Prosody(tmp_path / "new", program=prosody_program) as prosody:
        assert prosody.onion == onion


async def test_a_restart_is_another_process_on_the_same_ports(prosody: Prosody) -> None:
    pid, port = prosody.pid, prosody.c2s_port

    await prosody.restart()

    assert prosody.pid != pid
    assert not is_alive(pid)
    assert (LOOPBACK, port) in own_listeners(prosody.pid)


async def test_what_was_chosen_while_it_runs_is_not_lost_by_a_restart(
    prosody: Prosody,
) -> None:
    chosen = dataclasses.replace(
        prosody.folder.read_options(), federation=Federation.LISTED
    )
    chosen.save(prosody.folder.options_file)

    await prosody.use_socks(Endpoint("127.0.0.1", 9999))
    await prosody.restart()

    kept = prosody.folder.read_options()
    assert kept == dataclasses.replace(chosen, socks=Endpoint("127.0.0.1", 9999))


async def test_a_taken_port_is_replaced(
    prosody_program: str,
    tmp_path: Path,
    taken_port: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    initialise(tmp_path / "server")
    folder = Folder(tmp_path / "server", find_unprivileged_user())
    options = folder.read_options()
    taken = options.ports._replace(c2s=taken_port)
    folder.write_options(dataclasses.replace(options, ports=taken))

    with caplog.at_level(logging.INFO, "xmpp_onion.server"):
        async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
            assert prosody.c2s_port != taken_port
            assert (LOOPBACK, prosody.c2s_port) in own_listeners(prosody.pid)
    assert "a port of prosody is taken" in caplog.text
    assert folder.read_options().ports.c2s == prosody.c2s_port


async def test_two_servers_run_side_by_side(
    prosody_program: str, tmp_path: Path
) -> None:
    async with (
        Prosody(tmp_path / "a", program=prosody_program) as first,
        Prosody(tmp_path / "b", program=prosody_program) as second,
    ):
        assert first.onion != second.onion
        assert (await first.invite()).onion == first.onion
        assert (await second.invite()).onion == second.onion


async def test_a_folder_serves_one_server_at_a_time(
    prosody: Prosody, prosody_program: str, tmp_path: Path
) -> None:
    with pytest.raises(ServerError, match="runs already"):
        async with Prosody(tmp_path / "server", program=prosody_program):
            pass

    assert is_alive(prosody.pid)
    assert (await prosody.invite()).onion == prosody.onion


async def test_a_broken_configuration_is_quoted(
    prosody: Prosody, tmp_path: Path
) -> None:
    config = tmp_path / "server" / "prosody" / "prosody.cfg.lua"
    config.write_text("this is no Lua\n")

    with pytest.raises(ProsodyError) as caught:
        await prosody.restart()

    assert caught.value.exit_status == 1
    assert "syntax error near" in caught.value.why
    assert "syntax error near" in caught.value.log_tail


async def test_the_end_of_prosody_ends_the_wait(prosody: Prosody) -> None:
    os.kill(prosody.pid, signal.SIGKILL)

    with pytest.raises(ProsodyError) as caught:
        await prosody.wait()

    assert caught.value.exit_status == -signal.SIGKILL


async def test_a_restart_does_not_end_the_wait(prosody: Prosody) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(prosody.wait())
        await asyncio.sleep(0)  # it waits for the first process now

        await prosody.restart()
        await asyncio.sleep(0.1)

        assert not waiting.done()
        os.kill(prosody.pid, signal.SIGTERM)


async def test_stop_from_elsewhere_ends_the_wait_in_order(
    prosody_program: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
            started.set()
            await prosody.wait()

    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        owner = tasks.create_task(run())
        await started.wait()

        await stop(tmp_path / "server")

        assert owner.done()


async def test_prosody_dies_with_an_owner_who_was_killed(
    prosody_program: str, tmp_path: Path, root: Path
) -> None:
    script = dedent("""
        import asyncio, pathlib, sys
        from xmpp_onion.server import Prosody

        async def main():
            folder, program = sys.argv[1:]
            async with Prosody(pathlib.Path(folder), program=program) as prosody:
                print(prosody.pid, flush=True)
                await asyncio.sleep(600)

        asyncio.run(main())
        """)
    folder = tmp_path / "server"
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), prosody_program,
        cwd=root, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert owner.stdout is not None
    pid = int(await owner.stdout.readline())
    assert is_alive(pid)

    owner.kill()
    await owner.wait()
    await wait_until_gone(pid)

    async with Prosody(folder, program=prosody_program) as prosody:
        assert prosody.pid != pid  # the folder is free again


async def test_without_util_linux_prosody_still_is_not_root(
    prosody_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = link_programs(tmp_path / "bin", "env", "lua5.4", prosody_program)
    monkeypatch.setenv("PATH", str(programs))
    user = find_unprivileged_user()

    async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
        uid = os.getuid() if user is None else user.uid
        assert read_status(prosody.pid, "Uid") == [str(uid)] * 4
        assert read_status(prosody.pid, "Groups") == [] or user is None


async def test_a_start_that_is_cancelled_leaves_no_process(
    prosody_program: str, tmp_path: Path
) -> None:
    async def run(seconds: float) -> None:
        async with (
            asyncio.timeout(seconds),
            Prosody(tmp_path / "server", program=prosody_program),
        ):
            await asyncio.sleep(600)

    for seconds in (0.0, 0.05, 0.1):
        with pytest.raises(TimeoutError):
            await run(seconds)

    # Its lock would be held for as long as a process of the first three lives.
    async with Prosody(tmp_path / "server", program=prosody_program) as prosody:
        assert is_alive(prosody.pid)


async def test_prosody_finds_nothing_wrong_with_the_configuration(
    prosody_program: str, tmp_path: Path
) -> None:
    initialise(tmp_path / "server")

    status, output = await run_to_end(
        f"{prosody_program}ctl", "--root",
        "--config", "/proc/self/cwd/../prosody.cfg.lua", "check", "config",
        cwd=tmp_path / "server" / "prosody" / "data",
    )  # fmt: skip

    assert status == 0, output
    assert "All checks passed" in output


async def test_the_version_is_known_without_asking_for_it(prosody: Prosody) -> None:
    assert prosody.version.startswith(("0.12.", "13."))


async def test_memory_is_cleaned_when_it_has_doubled_and_not_all_the_time(
    prosody_program: str, tmp_path: Path
) -> None:
    data = tmp_path / "server" / "prosody" / "data"
    percent = 'return tostring(collectgarbage("setpause", 200))'

    async with Prosody(tmp_path / "server", program=prosody_program):
        assert await ask(data, percent) == "200"


async def test_a_prosody_that_could_ask_the_dns_does_not_stay_up(
    prosody_program: str, tmp_path: Path
) -> None:
    program = link_programs(tmp_path / "bin") / "without-fence"
    program.write_text(
        "#!/bin/sh\n"
        "sed 's/\"s2s_onion\";//' ../prosody.cfg.lua >prosody.cfg.lua\n"
        f"exec {prosody_program} --config /proc/self/cwd/prosody.cfg.lua -F\n"
    )
    program.chmod(0o755)
    folder = tmp_path / "server"

    with pytest.raises(ProsodyError) as caught:
        async with Prosody(folder, program=str(program)):
            pytest.fail("it runs")

    assert "s2s_onion is not loaded" in caught.value.why


# Warns of something a number of times.
WARN = """
local log = require "util.logger".init("test")
for number = 1, {count} do log("warn", "{word} %d {filling}", number) end
return ""
"""


async def test_logs_do_not_grow_without_end(prosody: Prosody) -> None:
    log = prosody.folder.log_file
    flood = WARN.format(count=12_000, word="flood", filling="x" * 90)
    sizes = []
    for _ in range(3):
        await ask(prosody.data, flood)
        await prosody.shorten_logs()
        sizes.append(log.stat().st_size)
    await ask(prosody.data, WARN.format(count=1, word="last", filling=""))
    await prosody.shorten_logs()

    files = sorted(path.name for path in prosody.data.glob("*.log"))
    assert files == ["prosody.log", "prosody.old.log"]
    assert max(sizes) < LOG_LIMIT_BYTES / 10
    assert "last 1" in log.read_text()
    assert "flood 12000 " in (prosody.data / "prosody.old.log").read_text()
    assert "flood 12000 " in prosody.log_tail()


async def test_why_prosody_died_is_in_the_log_also_after_a_flood(
    prosody: Prosody,
) -> None:
    await ask(prosody.data, WARN.format(count=12_000, word="flood", filling="x" * 90))
    await prosody.shorten_logs()
    prosody.folder.config_file.write_text("this is no Lua\n")

    with pytest.raises(ProsodyError) as caught:
        await prosody.restart()

    assert "syntax error near" in caught.value.why
