"""The demo, whole and ended at any moment: nothing is ever left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.onion

ROOT = Path(__file__).resolve().parents[3]
# Seconds after which something that should be gone counts as left behind. Death by
# SIGKILL is noticed by tor itself, which looks every 15 seconds.
_PATIENCE = 60.0
PROGRAMS = ("tor", "tor-gencert", "prosody", "prosodyctl", "lua", "setpriv", "prlimit")


def processes_in(folder: Path) -> list[str]:
    """What runs with something of ``folder`` in its arguments, or inside of it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            place = str((entry / "cwd").readlink())
            if str(folder) in words + place:
                found.append(f"{entry.name}: {words!r} in {place}")
    return found


class Demo:
    """A demo in folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.home = folder / "home"
        for each in (self.temporary, self.home):
            each.mkdir()

    @contextmanager
    def runs(self, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start it; it is over when the block is."""
        with subprocess.Popen(
            [sys.executable, "-m", "xmpp_onion", "demo", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "TMPDIR": str(self.temporary),
                "PYTHONPATH": str(ROOT),
                "LANG": "C.UTF-8",
                **more,
            },
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def has_left_nothing(self, *, files: bool = True) -> None:
        """Check it, as soon as it is so."""
        deadline = time.monotonic() + _PATIENCE
        while running := processes_in(self.temporary):
            assert time.monotonic() < deadline, running
            time.sleep(0.1)
        if files:
            assert list(self.temporary.iterdir()) == []
        assert [path for path in self.home.rglob("*") if path.is_file()] == []


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.has_left_nothing(files=False)


def until(process: subprocess.Popen[str], event: str) -> None:
    """Read its lines up to one of that kind."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(f"no {event}: {process.stderr and process.stderr.read()}")


def test_everything_is_shown_and_nothing_is_left(demo: Demo) -> None:
    with demo.runs("--json") as process:
        out, err = process.communicate(timeout=120)

    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, err
    assert err == ""
    assert {line["v"] for line in lines} == {1}
    events = [line["event"] for line in lines]
    assert events[:5] == ["tor", "server", "registered", "ready", "pinned"]
    # The scenes are played side by side; each keeps its own order.
    assert sorted(events[5:-1]) == ["downloaded", "file", *["message"] * 5, "room"]
    assert events[-1] == "done"
    _, server, *_ = lines
    assert len(server["onion"]) == 62
    assert (server["c2s"], len(server["fingerprint"])) == (5222, 64)
    onion = server["onion"]
    alice, bob, echo = (f"{name}@{onion}" for name in ("alice", "bob", "echo"))
    friends = f"friends@muc.{onion}"
    said = [line for line in lines if line["event"] in {"message", "file"}]
    assert [
        (line["from"], line["to"]) for line in said if line["room"] is None
        and line["event"] == "message"
    ] == [(alice, bob), (bob, alice), (echo, alice)]  # fmt: skip
    heard = [(line["from"], line["room"]) for line in said if line["room"]]
    assert heard == [(alice, friends), (echo, friends)]
    (room,) = [line for line in lines if line["event"] == "room"]
    assert (room["room"], room["members"]) == (friends, 3)
    (file,) = [line for line in lines if line["event"] == "file"]
    assert (file["from"], file["to"]) == (alice, bob)
    assert file["url"].startswith("aesgcm://")
    (saved,) = [line for line in lines if line["event"] == "downloaded"]
    assert (Path(saved["path"]).name, saved["size"]) == (file["name"], file["size"])
    for line in said:
        assert line["via"] == "onion"
        assert line["encrypted"] is True
        assert line["trust"] == "verified"
        assert len(line["fingerprint"]) == 64
    assert lines[-1]["ok"] is True
    timed = (*lines[:5], room, saved, lines[-1])
    assert all(isinstance(line["seconds"], float) for line in timed)
    demo.has_left_nothing()


def handles(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Wait until Python has its own handler: before, the kernel's word is final."""
    status = Path(f"/proc/{process.pid}/status")
    while number is signal.SIGINT:
        (caught,) = re.findall(r"SigCgt:\s*([0-9a-f]+)", status.read_text())
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, 0.4),
        (signal.SIGINT, 2.0),
        (signal.SIGTERM, 6.0),
        (signal.SIGINT, "server"),
        (signal.SIGTERM, "ready"),
        (signal.SIGINT, "message"),
    ],
)
def test_it_ends_cleanly_at_any_moment(
    demo: Demo, number: signal.Signals, moment: float | str
) -> None:
    with demo.runs("--json") as process:
        if isinstance(moment, str):
            until(process, moment)
        else:
            handles(process, number)
            time.sleep(moment)
        process.send_signal(number)
        out, err = process.communicate(timeout=_PATIENCE)

    # Where Python itself was interrupted while it loaded, it ends by the signal; a
    # shell says 130 of both.
    assert process.returncode in {130, -signal.SIGINT}, err
    assert "Traceback" not in err
    assert '"done"' not in out
    demo.has_left_nothing()


def test_a_second_interrupt_does_not_cut_the_cleaning_short(demo: Demo) -> None:
    with demo.runs("--json") as process:
        until(process, "registered")
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=_PATIENCE)

    assert process.returncode == 130
    assert err.strip() == ""
    demo.has_left_nothing()


def test_what_is_kept_ends_with_an_interrupt(demo: Demo) -> None:
    with demo.runs("--json", "--keep") as process:
        until(process, "done")
        assert process.stderr is not None
        said = ""
        while "send" not in said:
            said += process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=_PATIENCE)

    assert "export XMPP_ONION_SOCKS=127.0.0.1:" in said
    assert (process.returncode, err.strip()) == (130, "")
    demo.has_left_nothing()


def test_sudden_death_takes_every_process_along(demo: Demo) -> None:
    with demo.runs("--json") as process:
        until(process, "ready")
        assert len(processes_in(demo.temporary)) >= 8
        process.kill()
        process.wait()

    demo.has_left_nothing(files=False)


@pytest.mark.parametrize(
    ("missing", "code"), [("tor", 3), ("tor-gencert", 3), ("prosody", 7)]
)
def test_a_missing_program_is_one_error_and_nothing_is_started(
    demo: Demo, tmp_path: Path, missing: str, code: int
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for name in PROGRAMS:
            if name != missing and (folder / name).exists():
                with contextlib.suppress(FileExistsError):
                    (programs / name).symlink_to(folder / name)

    with demo.runs("--json", PATH=str(programs)) as process:
        out, err = process.communicate(timeout=_PATIENCE)

    (line,) = [json.loads(each) for each in out.splitlines()]
    assert (process.returncode, line["event"], line["code"]) == (code, "error", code)
    assert missing in line["what"]
    assert "apt-get install" in line["fix"]
    assert "Traceback" not in err
    demo.has_left_nothing()
