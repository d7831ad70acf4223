"""A server on a disk that is full goes on, says so, and is well when there is room."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.prosody

ROOT = Path(__file__).resolve().parents[3]
# Mounts a small disk of its own, which nobody else sees, and fills it under a server.
PLAY = """
import asyncio, json, subprocess, sys
from datetime import UTC, datetime
from pathlib import Path
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.server import Prosody, State, examine, note_state
from xmpp_onion.server.restarts import note_restart

top = Path(sys.argv[1])
subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "none", str(top)], check=True
)

async def attempt(work):
    try:
        result = work()
        if asyncio.iscoroutine(result):
            await result
    except XmppOnionError as error:
        return error.why
    return "done"

def fill():
    with (top / "filling").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass

async def main():
    folder = top / "server"
    async with Prosody(folder, program=sys.argv[2]) as prosody:
        await prosody.add_account("alice", "secret of alice")
        fill()
        found = [
            await attempt(lambda: prosody.add_account("bob", "secret of bob")),
            await attempt(lambda: note_state(folder, State.UP)),
            await attempt(lambda: note_restart(folder, "prosody")),
            await attempt(prosody.shorten_logs),
            await attempt(prosody.restart),
            await attempt(prosody.load),
        ]
        lines = [line async for line in examine(folder, now=datetime.now(UTC))]
        (top / "filling").unlink()
        found += [
            await attempt(prosody.restart),
            await attempt(lambda: prosody.add_account("bob", "secret of bob")),
        ]
        faults = [line["name"] for line in lines if not line["ok"]]
        people = [path.stem for path in prosody.data.glob("*/accounts/*.dat")]
    print(json.dumps([found, faults, sorted(people)]))

asyncio.run(main())
"""


def test_a_full_disk_ends_no_server_and_loses_no_account(
    prosody_program: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for place in (disk, *disk.parents[:3]):
        place.chmod(0o755)

    # An ordinary user may mount in a namespace of users.
    rights = () if os.geteuid() == 0 else ("--map-current-user", "--keep-caps")
    command = ("unshare", *rights, "--mount", sys.executable, "-c", PLAY)
    done = subprocess.run(
        [*command, str(disk), prosody_program],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found, faults, people = json.loads(done.stdout)
    assert found == [
        "Error saving to storage",
        "No space left on device",
        *["done"] * 6,
    ]
    assert "space" in faults
    assert people == ["alice", "bob"]
