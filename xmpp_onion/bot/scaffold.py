"""A new bot's folder: the bot, its test, and what keeps it running."""

import re
import sys
from pathlib import Path
from typing import Final

from xmpp_onion import private
from xmpp_onion.errors import UsageError

__all__ = ["make_project"]

_TEMPLATE: Final = Path(__file__).parent / "template"
# It becomes a module, a profile and a unit.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


def make_project(name: str, folder: Path) -> list[Path]:
    """Write a bot that can be run and tested at once.

    Args:
        name: Of the bot: a name for a Python module, such as ``alerts``.
        folder: Where; it is made if it is not there.

    Returns:
        The files.

    Raises:
        UsageError: It is no such name, or a file is there already; nothing was
            written.
    """
    if not _NAME.fullmatch(name) or name in sys.stdlib_module_names:
        raise UsageError(
            f"a bot cannot be called {name!a}",
            why="its name is also that of a Python module: a letter, then letters, "
            "digits and _, in lower case, and none of Python's own",
            fix="Take another, such as `weather`.",
        )
    words = {
        "NAME": name,
        "FOLDER": str(folder.absolute()),
        "PYTHON": sys.executable,
    }
    files = {
        folder / path.stem.replace("NAME", name): _fill(path, words)
        for path in sorted(_TEMPLATE.glob("*.in"))
    }
    if there := [path for path in files if path.exists()]:
        raise UsageError(
            f"nothing was written: {there[0]} is there already",
            fix="Choose another name or folder.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        private.replace(path, text.encode(), mode=0o644)
    return list(files)


def _fill(path: Path, words: dict[str, str]) -> str:
    text = path.read_text("utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
