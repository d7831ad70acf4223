from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

BOT = 'from xmpp_onion import Bot, Trust\nbot = Bot("{}", trust=Trust.PINNED)\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def (:\n", "SyntaxError"),
        ("import no_such_library\n", "no_such_library"),
        ("raise RuntimeError('at once')\n", "at once"),
        ("x = 1\n", "it defines: none"),
        (BOT.format("a") + BOT.format("b").replace("bot =", "other ="), "bot, other"),
    ],
)
def test_a_file_that_is_no_bot_is_a_usage_error(
    command: "Command", tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)

    done = command("bot", "run", str(file), "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (2, 2)
    assert words in str(line["what"])


def test_the_bot_of_that_name_is_run(command: "Command", tmp_path: Path) -> None:
    file = tmp_path / "json.py"  # a library is called so, too
    file.write_text(BOT.format("a") + BOT.format("b").replace("bot =", "other ="))

    done = command("bot", "run", f"{file}:other", "--json")

    assert done.code == 7
    assert "'b'" in str(done.lines[0]["what"])
