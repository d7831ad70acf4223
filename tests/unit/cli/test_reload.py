"""A program that is started anew when its files change."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import signal, sys, time
from pathlib import Path
from xmpp_onion.cli.reload import keep_reloading

keep_reloading(Path(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
with open(sys.argv[2], "a") as log:
    log.write(f"{sys.argv[3:]}\\n")
if Path(sys.argv[1], "part.py").read_text() == "raise":
    sys.exit(1)
while True:  # a signal that comes just before pause() would not end that
    time.sleep(0.1)
"""


class Reloading:
    """A process that watches, and what its children wrote."""

    def __init__(self, folder: Path) -> None:
        self.watched, self._log = folder / "watched", folder / "log"
        self.watched.mkdir()
        self.part = self.watched / "part.py"
        self.part.write_text("first")
        self._log.touch()
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(self.watched), str(self._log), "a b"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )

    def started(self, times: int) -> list[str]:
        """Wait until a child has begun so many times."""
        deadline = time.monotonic() + 300
        while len(lines := self._log.read_text().splitlines()) < times:
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)
        return lines

    def kill(self) -> None:
        """Kill the one that watches; return when its child has ended as well."""
        self.process.kill()
        self.process.communicate(timeout=300)  # the end of what both may write to


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[Reloading]:
    one = Reloading(tmp_path)
    yield one
    one.kill()


def test_a_file_that_changed_starts_it_anew_with_the_same_words(
    reloading: Reloading,
) -> None:
    reloading.started(1)
    reloading.part.write_text("second")
    reloading.started(2)
    (reloading.watched / "new.py").write_text("")

    assert reloading.started(3) == ["['a b']"] * 3


def test_one_that_failed_waits_for_the_next_change(reloading: Reloading) -> None:
    reloading.started(1)
    reloading.part.write_text("raise")
    reloading.started(2)
    reloading.part.write_text("mended")

    assert len(reloading.started(3)) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_ends_both_with_the_code_of_the_child(
    reloading: Reloading, number: signal.Signals
) -> None:
    reloading.started(1)
    reloading.process.send_signal(number)

    assert reloading.process.wait(300) == 5


def test_what_is_no_program_does_not_matter(reloading: Reloading) -> None:
    reloading.started(1)
    (reloading.watched / "store.sqlite3").write_text("")
    (reloading.watched / ".hidden").mkdir()
    (reloading.watched / ".hidden" / "x.py").write_text("")
    reloading.part.write_text("now")

    assert len(reloading.started(2)) == 2


def test_a_child_ends_when_the_one_that_watches_was_killed(
    reloading: Reloading,
) -> None:
    reloading.started(1)
    reloading.kill()

    assert reloading.process.returncode == -signal.SIGKILL
