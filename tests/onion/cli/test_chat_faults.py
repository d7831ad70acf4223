"""A talk in a real terminal while Tor dies, the disk fills, the window is closed."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.durability.small_disk import SmallDisk
from tests.onion.cli.conftest import PATIENCE, Person, Running, World
from tests.terminal import Terminal

pytestmark = pytest.mark.onion

# Larger than what is on its way before Tor dies.
FILE_BYTES = 24 * 2**20


@contextmanager
def chatting(
    who: Person,
    to: Person,
    folder: Path,
    *,
    prefix: Sequence[str] = (),
    data: Path | None = None,
) -> Iterator[Terminal]:
    """Run `chat` in a terminal; it is closed with the block."""
    environment = who.world.environment
    if data is not None:
        environment |= {"XMPP_ONION_DATA_DIR": str(data)}
    folder.mkdir()
    program = (sys.executable, "-m", "xmpp_onion", "--profile", who.profile, "chat")
    shown = Terminal(folder, [*prefix, *program, to.jid], environment, columns=100)
    try:
        yield shown
    finally:
        shown.close()


def heard(listening: Running, count: int) -> list[object]:
    """Return the texts of the next messages, and the names of files."""
    lines = (listening.line() for _ in range(count))
    return [line.get("body") or line.get("name") for line in lines]


def has_ended(pid: int) -> bool:
    """Tell whether a process is over; tmux may be late to ask how it ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


async def until_ended(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while not has_ended(pid):  # noqa: ASYNC110 - it is no child of ours
            await asyncio.sleep(0.05)


async def test_what_is_typed_while_tor_is_dead_arrives_once_and_in_order(
    world: World, tmp_path: Path
) -> None:
    gina, hugo = world.enrol("gina"), world.enrol("hugo")
    (tmp_path / "film").write_bytes(os.urandom(FILE_BYTES))
    with (
        hugo.runs("--json", "listen") as listening,
        chatting(gina, hugo, tmp_path / "screen") as shown,
    ):
        listening.line()
        shown.until_seen(r"\| connected \|")
        shown.type("line 0")
        shown.until_seen("^#1 .* ✓ +you: line 0")
        shown.type(f"/file {tmp_path / 'film'}")
        shown.until_seen(r"film \d+ %")
        pid = world.network.pid("client")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        try:
            shown.type("line 1", "line 2")
            down = shown.until_seen("no connection, trying")
            assert "film" in down
            shown.type("line 3")
            shown.until_seen("^#4 .* · +you: line 3")
        finally:
            await world.network.restart("client")
        back = shown.until_seen("^#5 .* ✓ +you: .file film.")
        shown.type("line 4")

        assert "| connected |" in back
        assert heard(listening, 6) == [
            *("line 0", "line 1", "line 2", "line 3"),
            *("film", "line 4"),
        ]
        # However often it is tried, each reason is told once.
        told = re.findall(": (.*); next attempt in", "\n".join(shown.rows()))
        assert told
        assert len(told) == len(set(told))
        assert "Traceback" not in "\n".join(shown.rows())
        # Nothing comes behind it: what comes next is next.
        shown.type("the end")
        assert heard(listening, 1) == ["the end"]


async def test_a_full_disk_loses_no_line_in_silence_and_the_talk_goes_on(
    world: World, tmp_path: Path
) -> None:
    ines, hugo = world.enrol("ines"), world.enrol("jack")
    async with SmallDisk(tmp_path / "small", "6m") as disk:
        shutil.copytree(world.data / "ines", disk.inside / "ines")
        with (
            hugo.runs("--json", "listen") as listening,
            chatting(
                *(ines, hugo, tmp_path / "screen"),
                prefix=disk.prefix,
                data=disk.place,
            ) as shown,
        ):
            listening.line()
            shown.until_seen(r"\| connected \|")
            shown.type("there is room")
            shown.until_seen("^#1 .* ✓ +you: there is room")

            # What is typed: told with its text, and the connection stays.
            disk.fill()
            shown.type("there is none")
            told = shown.until_seen("Not sent: there is none")
            assert "the disk is full" in told
            assert "Make room" in told
            assert "| connected |" in told

            # What comes cannot be kept: the talk waits, and so does what is typed.
            hugo.run("send", ines.jid, "-m", "from outside")
            shown.until_seen(r"\| the disk is full, waiting for room \|")
            shown.type("typed meanwhile")
            shown.until_seen(r"\| sending 1 \|")
            disk.make_room()
            shown.until_seen(r"you: typed meanwhile")
            shown.type("and now")
            after = shown.until_seen("^#4 .* ✓ +you: and now")

            assert "jack (tofu): from outside" in after
            assert heard(listening, 3) == [
                *("there is room", "typed meanwhile", "and now")
            ]
            assert "Traceback" not in "\n".join(shown.rows())


@pytest.mark.parametrize("how", ["closed", "SIGTERM", "Ctrl-C twice"])
async def test_a_talk_that_is_ended_keeps_what_was_typed(
    world: World, tmp_path: Path, how: str
) -> None:
    name = how.lower().split()[0].replace("-", "")
    kate, hugo = world.enrol(f"k{name}"), world.enrol(f"l{name}")
    with hugo.runs("--json", "listen") as listening:
        listening.line()
        with chatting(kate, hugo, tmp_path / "screen") as shown:
            shown.until_seen(r"\| connected \|")
            shown.type("first")
            shown.until_seen("^#1 .* ✓ +you: first")
            pid, tor = shown.pid, world.network.pid("client")
            assert tor is not None
            os.kill(tor, signal.SIGKILL)
            try:
                shown.until_seen("no connection, trying")
                shown.type("second", "third")
                shown.tmux("send-keys", "-l", "half a line")
                shown.until_seen("^#3 .* · +you: third")
                if how == "closed":
                    os.kill(pid, signal.SIGHUP)  # as the kernel does
                elif how == "SIGTERM":
                    os.kill(pid, signal.SIGTERM)
                else:
                    shown.press("C-c")
                    shown.until_seen("That line was dropped")
                    shown.press("C-c")
                if how != "closed":
                    shown.until_seen("not with the server yet: 2")
                await until_ended(pid)
            finally:
                await world.network.restart("client")
            assert "Traceback" not in "\n".join(shown.rows())
        assert kate.run("send", hugo.jid, "-m", "fourth").code == 0
        assert heard(listening, 4) == ["first", "second", "third", "fourth"]
