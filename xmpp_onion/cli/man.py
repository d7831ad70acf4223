"""The manual page, made of the catalogue of commands.

After a change of any command, write both anew::

    python -m xmpp_onion.cli.catalogue
    python -m xmpp_onion.cli.man > docs/xmpp-onion.1

A test compares it; the wheel brings it, so that ``man xmpp-onion`` shows it.

Source: man(7); man-pages(7) for the order of sections.
"""

import re
import sys
from collections.abc import Iterator
from typing import Final

from xmpp_onion.cli.catalogue import CommandEntry, ParamEntry, read_catalogue
from xmpp_onion.version import __version__

__all__ = ["write_page"]

NAME: Final = "xmpp-onion"
_SUMMARY: Final = "private messaging carried only by Tor onion services"
# What click shows as it is written, and man has to be asked to.
_VERBATIM: Final = "\b"
_CODES: Final = (
    ("0", "Done, and confirmed by the server where something was sent."),
    ("1", "A mistake of ours."),
    ("2", "The command was not typed as it has to be."),
    ("3", "Tor or the network; try again."),
    ("4", "Not sent: no device that your policy accepts."),
    ("5", "Refused by the server, or too often; try later."),
    ("6", "The login failed; do not try again."),
    ("7", "Configuration, store or server folder."),
    ("8", "Timed out; what was to be sent waits."),
    ("130", "Interrupted."),
)


def write_page(entry: CommandEntry) -> str:
    """Return the page: the program, and each command below it."""
    lines = [
        f'.TH {NAME.upper()} 1 "" "{NAME} {__version__}" "User Commands"',
        ".SH NAME",
        f"{_escape(NAME)} \\- {_SUMMARY}",
        ".SH SYNOPSIS",
        f".B {_escape(NAME)}",
        "[OPTIONS] COMMAND [ARGS]",
        ".SH DESCRIPTION",
        *_text(entry["help"]),
        ".SH OPTIONS",
        *_options(entry["params"]),
        ".SH COMMANDS",
        *_commands(NAME, entry),
        ".SH EXIT STATUS",
    ]
    for code, meaning in _CODES:
        lines += [".TP", f".B {code}", _escape(meaning)]
    return "\n".join(lines) + "\n"


def _commands(name: str, entry: CommandEntry) -> Iterator[str]:
    for word, each in (entry["commands"] or {}).items():
        full = f"{name} {word}"
        if each["commands"] is None:
            yield f'.SS "{_escape(f"{full} {_usage(each)}".strip())}"'
            yield from _text(each["help"])
            yield from _options(each["params"])
        else:
            yield from _commands(full, each)


def _usage(entry: CommandEntry) -> str:
    words = ["[OPTIONS]"] if any(each["shown"] for each in entry["params"]) else []
    words += [each["metavar"] for each in entry["params"] if not each["spellings"]]
    return " ".join(words)


def _options(params: list[ParamEntry]) -> Iterator[str]:
    for each in params:
        if each["shown"]:
            typed, meaning = each["shown"]
            yield from (".TP", f".B {_escape(typed)}", _escape(meaning))


def _text(help_text: str) -> Iterator[str]:
    for number, paragraph in enumerate(help_text.split("\n\n")):
        if number:
            yield ".PP"
        lines = paragraph.split("\n")
        if lines[0] == _VERBATIM:
            yield from (".nf", *map(_safe, lines[1:]), ".fi")
        else:
            yield _escape(paragraph)


def _escape(text: str) -> str:
    """Return what shows as ``text`` on one line."""
    return _safe(re.sub(r"\s+", " ", text).strip())


def _safe(line: str) -> str:
    """Return what shows as ``line``: no letter of it is an order to roff."""
    shown = line.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown


if __name__ == "__main__":
    sys.stdout.write(write_page(read_catalogue()))
