"""What the commands print: data on stdout, messages for people on stderr.

Text of other people passes ``visible`` first: nobody may move our cursor, set a
title, write the clipboard or fake a line.
"""

import json
import shutil
import sys
import unicodedata

from xmpp_onion.cli.folding import fold
from xmpp_onion.cli.hints import of_profile

__all__ = ["Output", "ReaderGoneError", "quoted", "say_finding", "visible"]

# Left as they are although their category is Cf: they join letters in many scripts.
_JOINERS = {"\u200c", "\u200d"}
# Of a name that somebody gave himself, and of the marks on one letter of it.
_NAME_SHOWN = 32
_MARKS_SHOWN = 2
# Marks on one letter of a text: more than any script has, and less than a tower of
# them that covers the lines above.
_TOWER = 8
# Letters to Unicode and blanks to the eye.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")


def visible(text: str, *, continuation: str = "  | ") -> str:
    r"""Return foreign text with everything that could act shown as an escape.

    Control characters (C0, C1, DEL), bidirectional overrides, invisible and
    separator characters become ``\\xNN`` or ``\\uNNNN``, and so do marks on one letter
    from the ninth on; tabs stay. Lines after the first start with ``continuation``,
    so that no message can look like two.
    """
    shown: list[str] = []
    marks = 0
    for letter in text:
        if letter not in _JOINERS:
            marks = marks + 1 if unicodedata.category(letter) in {"Mn", "Me"} else 0
        if letter == "\n":
            shown.append(f"\n{continuation}")
        else:
            shown.append(_escape(letter) if marks > _TOWER else _shown(letter))
    return "".join(shown)


def _shown(letter: str) -> str:
    if letter == "\t" or letter in _JOINERS:
        return letter
    if letter in _FILLERS:
        return _escape(letter)
    # Cc control, Cf format, Cs surrogate, Co private use, Cn unassigned, and the
    # separators of lines and paragraphs.
    if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return _escape(letter)
    return letter


def _escape(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"


def quoted(name: str) -> str:
    r"""Return a name that somebody gave himself: harmless, short, between quotes.

    A quote in it becomes ``\\x22`` and marks piled on one letter are shown apart, so
    that it ends where it seems to end.
    """
    shown, marks = "", 0
    for letter in name[:_NAME_SHOWN]:
        marks = marks + 1 if unicodedata.category(letter) in {"Mn", "Me"} else 0
        if letter in '"\t\n' or letter in _JOINERS or marks > _MARKS_SHOWN:
            shown += _escape(letter)
        else:
            shown += _shown(letter)
    return f'"{shown}{"…" if len(name) > _NAME_SHOWN else ""}"'


def say_finding(line: dict[str, object]) -> str:
    """Return what a check found, in words; of a fault also why, and how to mend it."""
    what = visible(str(line["what"]))
    if line["ok"]:
        return f"ok    {line['name']}: {what}"
    text = f"FAIL  {line['name']}: {what}"
    for label in ("why", "fix"):
        if part := line[label]:
            text += f"\n      {label}: {visible(str(part))}"
    return text


class ReaderGoneError(Exception):
    """Whoever read our output has had enough, as ``head`` has: no reason to fail."""


class Output:
    """Where a command's results and messages go.

    Args:
        as_json: One JSON object a line on stdout, and nothing else there.
        quiet: No messages for people.
        profile: For which account people are told to type commands; empty for the one
            that they need not name.
    """

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, profile: str = ""
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._profile = profile

    def result(self, line: dict[str, object], text: str) -> None:
        """Print one result: ``line`` with --json, else ``text``, flushed at once.

        Raises:
            ReaderGoneError: Nobody reads it any more. End, quietly.
        """
        shown = json.dumps(line, ensure_ascii=False) if self.as_json else text
        # A terminal that cannot show a letter must not end the command.
        encoding = sys.stdout.encoding or "utf-8"
        safe = shown.encode(encoding, "backslashreplace").decode(encoding)
        try:
            sys.stdout.write(safe + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def event(
        self, line: dict[str, object], text: str, *, is_ours: bool = False
    ) -> None:
        """Print what came from others, as `result` does.

        In a terminal each row that continues one is marked: it cannot look like a line
        of ours, however the text was padded.

        Args:
            line: As in `result`.
            text: As there.
            is_ours: We say it about others, and may name commands to type.

        Raises:
            ReaderGoneError: Nobody reads it any more. End, quietly.
        """
        if is_ours:
            text = of_profile(text, self._profile)
        if sys.stdout.isatty() and not self.as_json:
            text = fold(text, shutil.get_terminal_size().columns)
        self.result(line, text)

    def note(self, text: str) -> None:
        """Say something to the person, on stderr; not with --quiet."""
        if not self.quiet:
            sys.stderr.write(of_profile(text, self._profile) + "\n")
            sys.stderr.flush()

    def error(self, line: dict[str, object]) -> None:
        """Say what failed, why, and how to mend it (a line of ``as_line``)."""
        if self.as_json:
            self.result(line, "")
            return
        sys.stderr.write(f"xmpp-onion: {visible(str(line['what']))}\n")
        for name in ("to", "why", "fix"):
            if text := str(line.get(name) or ""):
                told = of_profile(text, self._profile) if name == "fix" else text
                sys.stderr.write(f"  {name}: {visible(told)}\n")
        sys.stderr.flush()
