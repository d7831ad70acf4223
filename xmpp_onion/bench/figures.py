"""What is measured, and what came out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple, Self

__all__ = ["SUBJECTS", "Figure", "Subject", "render"]


class Subject(NamedTuple):
    """Something that a contestant does.

    Attributes:
        title: What, and until when; ``{size}`` is how many.
        goal: Round trips that it may take; None if none was set.
    """

    title: str
    goal: int | None = None


SUBJECTS: Final = {
    "first-login": Subject(
        "first login of an account, until a new OMEMO device is published", 6
    ),
    "login": Subject("later login, until it can encrypt", 2),
    "first-message": Subject(
        "first message to a stranger, until the reader has decrypted it", 3
    ),
    "later-message": Subject("later message, until the reader has decrypted it", 1),
    "strangers": Subject(
        "first message to {size} strangers, until all have decrypted it", 4
    ),
    "backlog": Subject("login with {size} messages waiting, until all are read", 5),
    "room": Subject(
        "enter a room of {size} with two devices each, and a first message, until all "
        "have decrypted it",
        6,
    ),
    "room-later": Subject("later message in a room of {size}, in the same way", 1),
    "warm-circuit": Subject("first byte of an onion, on a circuit that is there"),
    "new-circuit": Subject("first byte of an onion, on a new circuit"),
    "file-sent": Subject("a file of {size} bytes sent"),
    "file-fetched": Subject("a file of {size} bytes fetched"),
}
"""By name, in the order in which they are shown."""


_NOT_DONE: Final = "-"  # what a contestant leaves out


@dataclass(frozen=True, slots=True)
class Figure:
    """What something took.

    Attributes:
        subject: What: a name of `SUBJECTS`.
        contestant: Who did it, or in which way.
        rtt: Seconds that were added to each round trip.
        seconds: How long it took.
        round_trips: How often one side had to wait for the other; None where that
            is not counted.
        size: How many people, messages or bytes; 1 where the subject says it.
        bytes_up: What went to the server; 0 where that is not counted.
        bytes_down: What came from it.
    """

    subject: str
    contestant: str
    rtt: float
    seconds: float
    round_trips: int | None = None
    size: int = 1
    bytes_up: int = 0
    bytes_down: int = 0

    @classmethod
    def from_line(cls, line: Mapping[str, object]) -> Self:
        """Return what `as_line` told about."""
        return cls(**{each.name: line[each.name] for each in fields(cls)})  # type: ignore[arg-type]  # of the kinds that as_line wrote

    @property
    def title(self) -> str:
        """What was done, in words."""
        return SUBJECTS[self.subject].title.format(size=f"{self.size:,}")

    @property
    def goal(self) -> int | None:
        """Round trips that it may take."""
        return SUBJECTS[self.subject].goal

    def as_line(self) -> dict[str, object]:
        """Return the line that tells about it in ``--json``."""
        return {
            "v": 1,
            "event": "figure",
            "subject": self.subject,
            "contestant": self.contestant,
            "rtt": self.rtt,
            "size": self.size,
            "round_trips": self.round_trips,
            "goal": self.goal,
            "seconds": round(self.seconds, 3),
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }


def render(figures: Iterable[Figure]) -> str:
    """Return tables in Markdown: one of round trips and seconds for what is counted.

    The count is that of the longest delay, at which a program's own thinking disturbs
    it least.
    """
    figures = list(figures)
    counted = [each for each in figures if each.round_trips is not None]
    timed = [each for each in figures if each.round_trips is None]
    parts = []
    if counted:
        parts.append(_render_counted(counted))
    if timed:
        parts.append(_render_timed(timed))
    return "\n".join(parts)


def _render_counted(figures: Sequence[Figure]) -> str:
    names = _in_order(each.contestant for each in figures)
    rtts = sorted({each.rtt for each in figures})
    head = ["", *(f"{name}: round trips" for name in names), "goal"]
    head += [f"{name}, {rtt * 1000:.0f} ms" for rtt in rtts for name in names]
    rows = []
    for key in _rows(figures):
        mine = [each for each in figures if (each.subject, each.size) == key]
        row = [mine[0].title]
        row += [_count(mine, name) for name in names]
        row.append("" if mine[0].goal is None else str(mine[0].goal))
        row += [_seconds(mine, name, rtt) for rtt in rtts for name in names]
        rows.append(row)
    return _table(head, rows)


def _render_timed(figures: Sequence[Figure]) -> str:
    names = _in_order(each.contestant for each in figures)
    rows = []
    for key in _rows(figures):
        mine = [each for each in figures if (each.subject, each.size) == key]
        cells = {each.contestant: f"{each.seconds:.2f} s" for each in mine}
        rows.append([mine[0].title, *(cells.get(name, "") for name in names)])
    return _table(["", *names], rows)


def _rows(figures: Iterable[Figure]) -> list[tuple[str, int]]:
    order = list(SUBJECTS)
    keys = {(each.subject, each.size) for each in figures}
    return sorted(keys, key=lambda key: (order.index(key[0]), key[1]))


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _count(figures: Sequence[Figure], name: str) -> str:
    mine = [each for each in figures if each.contestant == name]
    if not mine:
        return _NOT_DONE
    return str(max(mine, key=lambda each: each.rtt).round_trips)


def _seconds(figures: Sequence[Figure], name: str, rtt: float) -> str:
    for each in figures:
        if each.contestant == name and each.rtt == rtt:
            return f"{each.seconds:.2f} s"
    return _NOT_DONE


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
