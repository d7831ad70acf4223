"""``xmpp-onion bench`` as it is typed, whole and ended in the middle."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xmpp_onion.cli.json_lines import faults

pytestmark = pytest.mark.prosody

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "xmpp_onion", "bench", "--quick", "--json", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(ROOT),
        },
    )


def processes_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            if str(folder) in words + str((entry / "cwd").readlink()):
                found.append(words)
    return found


def has_left_nothing(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while running := processes_in(folder / "tmp"):
        assert time.monotonic() < deadline, running
        time.sleep(0.1)
    assert list((folder / "tmp").iterdir()) == []


def test_it_tells_figures_writes_files_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with start(tmp_path, "--only", "ours", "--rtt", "0", "--out", str(out)) as process:
        told, said = process.communicate(timeout=PATIENCE)

    lines = [json.loads(line) for line in told.splitlines()]
    assert process.returncode == 0, said
    assert [fault for line in lines for fault in faults(line)] == []
    assert [line["event"] for line in lines] == [
        *("machine", *["figure"] * 6, "measured")
    ]
    assert {line["contestant"] for line in lines[1:-1]} == {"ours"}
    kept = (out / "figures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == lines[:-1]
    assert (out / "round-trips.svg").exists()
    has_left_nothing(tmp_path)


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with start(tmp_path, "--only", "ours", "--rtt", "5") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "machine"
        time.sleep(0.5)  # into the middle of what comes next, whatever it is
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    has_left_nothing(tmp_path)
