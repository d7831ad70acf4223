"""How far a file is: a bar on the terminal, or JSON lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xmpp_onion.cli.settings import Settings

if TYPE_CHECKING:
    from xmpp_onion.chat import Line

__all__ = ["watching"]


@contextmanager
def watching(settings: Settings, title: str) -> Iterator[Callable[["Line"], None]]:
    """Yield what takes lines that say how far it is.

    They are printed with --json; drawn on stderr if that is a terminal; else nobody
    sees them.
    """
    output = settings.output
    if settings.as_json:
        yield lambda line: output.result(line, "")
        return
    if settings.quiet or not sys.stderr.isatty():
        yield lambda _line: None
        return
    from xmpp_onion.cli.progress import show_progress  # noqa: PLC0415 - rich is slow

    with show_progress(title) as update:

        def draw(line: "Line") -> None:
            done, total = int(str(line["done"])), int(str(line["total"]))
            text = f"{line['name']} {_size(done)} of {_size(total)}"
            update(text, done / total if total else 1.0)

        yield draw


def _size(size: int) -> str:
    """Return a size as people say it, in powers of ten."""
    amount, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while amount >= 1000 and unit != "GB":
        amount, unit = amount / 1000, next(units)
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
