"""Logs that name nobody and quote nothing, whoever writes them.

What the libraries below log at DEBUG is every stanza, every SQL value and every key
that they hold. So a record is redacted where it becomes text, whatever its logger:

- *Our own* loggers, and those that a program names as its own, keep their text. In
  it addresses, onion names, fingerprints, links with keys, tokens and passwords are
  shortened.
- *All others* keep where they stand and what was written in their source before the
  values were filled in. Of a value only its type is shown, but for small numbers and
  truths. A text that was put together before it was logged is withheld.
- Of what was raised, the places and the types are shown, and no text: it may quote a
  message. Our own errors carry none, so theirs is shown, shortened.

There is no switch that turns it off: a log that must not leave the machine is one
that somebody sends along with a bug.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TextIO, TypeAlias

from xmpp_onion.errors import XmppOnionError

__all__ = ["Format", "JsonFormatter", "TextFormatter", "redact", "write_logs"]

Format: TypeAlias = Literal["text", "json"]
"""How a log is written: for people, or a JSON object in each line."""

_OURS: Final = "xmpp_onion"
# Longer than any line that a person reads; a handler may log what a stranger wrote.
_LINE: Final = 4_000
# Of what was raised because of what: an endless chain is cut.
_CAUSES: Final = 8
_SMALL: Final = 1_000_000

# What can be no part of a name here: where one ends, another may begin.
_NO_NAME: Final = r"\s@/\"'<>=:,;()\[\]{}"


def _person(domain: str) -> re.Pattern[str]:
    """Return a pattern of an address; its first group is its first letter."""
    # From where a name begins, so that a long word is looked at once.
    name = rf"(?<![^{_NO_NAME}])([^{_NO_NAME}])[^{_NO_NAME}]*"
    return re.compile(rf"{name}@{domain}(?:/[^\s\"'<>,;)]*)?", re.IGNORECASE)


# What is shortened, in this order, and what it becomes.
_SECRETS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"aesgcm://\S+", re.IGNORECASE), "aesgcm://…"),
    (re.compile(r"xmpp:[^\s\"'<>]+", re.IGNORECASE), "xmpp:…"),
    (  # password=…, "token": "…", <password>…
        re.compile(
            r"(?i)(\b[\w-]*(?:passw(?:or)?d|passphrase|secret|token|preauth|"
            r"authorization|api[_-]?key|private[_-]?key)\b[\"']?\s*[=:>]\s*)"
            r"(\"[^\"]*\"|'[^']*'|[^\s,;<>&]+(?:\s+[^\s,;<>&=]{16,})?)"
        ),
        r"\1…",
    ),
    (_person(r"((?:[\w-]+\.)*)([a-z2-7]{6})[a-z2-7]{50}\.onion"), r"\1…@\3….onion"),
    (
        re.compile(r"(?:(?<![\w-])[\w-]+\.)*(?<![a-z2-7])([a-z2-7]{6})[a-z2-7]{50}"
                   r"(?:\.onion)?(?![a-z2-7])", re.IGNORECASE),
        r"\1….onion",
    ),
    # An address elsewhere, too: it names a person.
    (_person(r"[\w-]+(?:\.[\w-]+)+"), r"\1…@…"),
    # Fingerprints, in groups as well, and keys in hex.
    (re.compile(r"(?i)(?<![0-9a-f])(?:[0-9a-f]{8}[ :]){7}[0-9a-f]{8}\b"), "…"),
    (re.compile(r"(?i)(?<![0-9a-f])(?:[0-9a-f]{2}[ :]?){16,}\b"), "…"),
    # Keys and tokens in base64: long, of letters and digits; no UUIDs, as ids are.
    (
        re.compile(r"(?<![\w+/=-])(?![0-9a-f]{8}-[0-9a-f]{4}-)(?=[\w+/-]*[0-9A-Z])(?=[\w+/-]*[a-z])"
                   r"(?=[\w+/-]*[0-9+/])[\w+/-]{22,}={0,2}(?![\w+/=-])"),
        "…",
    ),
)  # fmt: skip
_PLACEHOLDER: Final = re.compile(
    r"%(?:\((\w+)\))?[#0\- +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[a-zA-Z%]"
)


def write_logs(
    style: Format = "text",
    *,
    level: int = logging.INFO,
    own: Collection[str] = (),
    stream: TextIO | None = None,
    libraries: int | None = None,
    title: str = "",
) -> logging.Handler:
    """Write what all loggers say to stderr, redacted; replaces what did before.

    Libraries say warnings and worse, however low the level is for our own loggers;
    at DEBUG they say all, and nothing that they hold.

    Args:
        style: Lines for people, or one JSON object a line.
        level: Of our own loggers.
        own: Names of loggers whose texts are the program's own; those below them too.
        stream: Where to; stderr by default.
        libraries: From which level on they say something, instead of that.
        title: What stands before our own lines, in place of level and logger, while
            nobody wants more than warnings.

    Returns:
        What was put in place: ``logging.getLogger().removeHandler`` takes it away.
    """
    names = frozenset({_OURS, "__main__", *own})
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter(names) if style == "json" else TextFormatter(names, title)
    )
    root = logging.getLogger()
    for before in [h for h in root.handlers if isinstance(h.formatter, _Redacting)]:
        root.removeHandler(before)
    root.addHandler(handler)
    if libraries is None:
        libraries = logging.DEBUG if level <= logging.DEBUG else logging.WARNING
    root.setLevel(libraries)
    for name in names:
        logging.getLogger(name).setLevel(level)
    return handler


def redact(text: str) -> str:
    """Return a text of our own without what names somebody or opens something."""
    if len(text) > _LINE:  # at a blank: half a secret would not be known as one
        text = f"{text[:_LINE].rpartition(' ')[0]} …"
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


class _Redacting(logging.Formatter):
    """What both forms know.

    Args:
        own: The loggers whose texts are shown.
    """

    def __init__(self, own: Collection[str]) -> None:
        super().__init__()
        self._own = own

    def text_of(self, record: logging.LogRecord) -> str:
        """Return what a record says, as far as it may."""
        try:
            if self._is_own(record.name):
                return redact(record.getMessage())
            if not record.args:
                return "(not shown: it may quote something)"
            return redact(_without_values(record))
        except Exception as error:  # noqa: BLE001 - a value's own __str__ may raise
            return f"(cannot be shown: {type(error).__name__})"

    def _is_own(self, name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:n]) in self._own for n in range(1, len(parts) + 1))

    @staticmethod
    def place_of(record: logging.LogRecord) -> str:
        """Return where it was said."""
        return f"{Path(record.pathname).name}:{record.lineno}"

    @staticmethod
    def failure_of(record: logging.LogRecord) -> list[str]:
        """Return what was raised: its causes first, each with its places."""
        if not record.exc_info or record.exc_info[1] is None:
            return []
        return [line for error in _chain(record.exc_info[1]) for line in _told(error)]


class TextFormatter(_Redacting):
    """A line for people; what was raised follows, set in.

    Args:
        own: The loggers whose texts are shown.
        title: What stands before theirs, as long as only warnings are said.
    """

    def __init__(self, own: Collection[str], title: str = "") -> None:
        super().__init__(own)
        self._title = title

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        is_own = self._is_own(record.name)
        where = record.name if is_own else f"{record.name} ({self.place_of(record)})"
        # Nobody forges another record: further lines are set in.
        text = self.text_of(record).replace("\n", "\n  ")
        head = f"{record.levelname} {redact(where)}"
        if self._title and not logging.getLogger(_OURS).isEnabledFor(logging.INFO):
            head = self._title
        line = f"{head}: {text}"
        return "\n  ".join([line, *self.failure_of(record)])


class JsonFormatter(_Redacting):
    """One JSON object a line: ``at``, ``level``, ``logger``, ``text``, ``place``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "v": 1,
            "event": "log",
            "at": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
            "level": record.levelname.lower(),
            "logger": redact(record.name),
            "text": self.text_of(record),
            "place": self.place_of(record),
        }
        if failure := self.failure_of(record):
            line["failure"] = failure
        return json.dumps(line, ensure_ascii=False)


def _without_values(record: logging.LogRecord) -> str:
    """Return what stands in the source, with the types of the values in it."""
    args = record.args or ()
    values = iter(args if isinstance(args, tuple) else ())

    def fill(found: re.Match[str]) -> str:
        if found[0].endswith("%"):
            return "%"
        if isinstance(args, tuple):
            return _kind(next(values, None))
        return _kind(args.get(found[1]))

    if not isinstance(record.msg, str):
        return _kind(record.msg)
    return _PLACEHOLDER.sub(fill, record.msg)


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float) and abs(value) < _SMALL:
        return str(value)
    return f"<{type(value).__name__}>"


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what it was raised because of, the first cause first."""
    found: list[BaseException] = []
    left = [error]
    while left and len(found) < _CAUSES:
        one = left.pop()
        if one in found:
            continue
        found.append(one)
        hidden = None if one.__suppress_context__ else one.__context__
        cause = one.__cause__ or hidden
        left += [cause] if cause is not None else []
        left += one.exceptions[:1] if isinstance(one, BaseExceptionGroup) else []
    return found[::-1]


def _told(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    told = f": {redact(str(error))}" if isinstance(error, XmppOnionError) else ""
    yield f"{type(error).__name__}{told}"
