import sys
from pathlib import Path

import pytest

from xmpp_onion.bench import terminal
from xmpp_onion.bench.terminal import Tail, run_on_terminal
from xmpp_onion.errors import BenchmarkError

# Says on its terminal more than that holds, and notes what is typed.
NOTES = """
import sys
print("x" * 200_000, flush=True)
assert sys.stdout.isatty()
with open("notes/said.log", "a") as notes:
    for line in sys.stdin:
        if line == "/quit\\n":
            break
        print("noted:", line, end="", file=notes, flush=True)
"""


def tail(folder: Path) -> Tail:
    (folder / "notes").mkdir(exist_ok=True)
    return Tail(folder, "notes/*.log")


async def test_what_is_typed_reaches_a_program_and_what_it_notes_is_seen(
    tmp_path: Path,
) -> None:
    notes = tail(tmp_path)
    command = [sys.executable, "-c", NOTES]
    async with run_on_terminal(command, tmp_path, {}) as running:
        running.type("one")
        running.type("two")
        seen = [(await notes.see(r"noted: (.*)"))[1] for _ in range(2)]
        await running.quit("/quit")
        code = running.process.returncode

    assert seen == ["one", "two"]
    assert code == 0


async def test_a_program_that_goes_on_is_ended_with_the_block(tmp_path: Path) -> None:
    async with run_on_terminal(["sleep", "600"], tmp_path, {}) as running:
        pass

    assert running.process.returncode == -15


async def test_only_whole_lines_that_are_new_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "notes" / "said.log"
    tail(tmp_path)
    file.write_text("an old one\n")
    notes = tail(tmp_path)
    with file.open("a") as written:
        written.write("a new ")
        written.flush()
        with monkeypatch.context() as short:
            short.setattr(terminal, "_PATIENCE", 0.1)
            with pytest.raises(BenchmarkError):
                await notes.see("an? ")
        written.write("one\n")

    assert (await notes.see("an? .*one"))[0] == "a new one"


async def test_what_is_never_noted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_PATIENCE", 0.05)
    with pytest.raises(BenchmarkError, match="did not note 'nothing'"):
        await tail(tmp_path).see("nothing")
