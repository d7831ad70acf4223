"""What keeps a server running in the background; the rest is in tests/onion/cli."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server.background import supervise
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import kept, read_keeper

# Says that it is up, unless told otherwise, and ends with the next code of a list.
PLAY = """
import json, pathlib, sys
codes = pathlib.Path(sys.argv[1])
first, *rest = codes.read_text().split()
codes.write_text(" ".join(rest))
print(json.dumps({"event": sys.argv[2]}), flush=True)
print(json.dumps({"event": "status"}), flush=True)
if first == "stay":
    import time
    time.sleep(1000)
sys.exit(int(first))
"""


def play(folder: Path, codes: str, event: str = "server") -> list[str]:
    (folder / "codes").write_text(codes)
    return [sys.executable, "-c", PLAY, str(folder / "codes"), event]


async def run(folder: Path, command: list[str]) -> list[str]:
    """Supervise a command to its end; return the events that were told."""
    told: list[bytes] = []
    async with asyncio.timeout(60):
        await supervise(Folder(folder, None), command, tell=told.append, first_delay=0)
    return [json.loads(line)["event"] for line in told]


@pytest.mark.parametrize(
    ("codes", "starts"), [("0 9", 1), ("1 0 9", 2), ("1 3 7 0 9", 4)]
)
async def test_what_dies_is_started_again_until_it_ends_well(
    tmp_path: Path, codes: str, starts: int
) -> None:
    events = await run(tmp_path, play(tmp_path, codes))

    assert events == ["server"] * starts
    assert (tmp_path / "codes").read_text() == "9"


async def test_what_never_ran_is_not_started_again(tmp_path: Path) -> None:
    events = await run(tmp_path, play(tmp_path, "3 0", event="error"))

    assert events == ["error"]
    assert (tmp_path / "codes").read_text() == "0"


async def test_who_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    folder, is_up = Folder(tmp_path, None), asyncio.Event()
    command = play(tmp_path, "stay")
    async with asyncio.TaskGroup() as tasks:
        supervisor = tasks.create_task(
            supervise(folder, command, tell=lambda _: is_up.set())
        )
        await is_up.wait()
        assert read_keeper(folder) is not None
        (child,) = children()
        supervisor.cancel()

    assert child not in children()
    assert read_keeper(folder) is None


def children() -> list[int]:
    text = Path("/proc/thread-self/children").read_text("ascii")
    return [int(pid) for pid in text.split()]


async def test_a_server_is_kept_running_once(tmp_path: Path) -> None:
    async with kept(Folder(tmp_path, None)):
        with pytest.raises(ServerError, match="runs already"):
            await run(tmp_path, play(tmp_path, "0"))

    assert (tmp_path / "codes").read_text() == "0"
