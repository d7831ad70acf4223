"""What is written of a run: tables in Markdown, figures as JSON lines, plots."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xmpp_onion.bench.figures import SUBJECTS, Figure, render
from xmpp_onion.bench.plot import Bars, Lines, draw
from xmpp_onion.bench.programme import Machine

__all__ = ["plots", "write"]

_COURSE: Final = (
    *("first-login", "login", "first-message", "later-message", "strangers"),
    "backlog",
)
_ROOMS: Final = ("room", "room-later")
_FILES: Final = ("file-sent", "file-fetched")


def write(folder: Path, machine: Machine, figures: Sequence[Figure]) -> list[Path]:
    """Write all of it into a folder, and return what was written."""
    lines = [machine.as_line(), *(each.as_line() for each in figures)]
    files = {
        "figures.md": f"{machine}\n\n{render(figures)}",
        "figures.jsonl": "".join(f"{json.dumps(line)}\n" for line in lines),
        **plots(str(machine), figures),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def plots(note: str, figures: Sequence[Figure]) -> dict[str, str]:
    """Return pictures by the names of their files; of what was not measured, none.

    Args:
        note: Where and when it was measured.
        figures: What came out.
    """
    drawn = {}
    counts = _counts(figures)
    if counts.rows:
        drawn["round-trips.svg"] = draw(
            "Round trips: how often one side has to wait for the other",
            [counts],
            note=note,
        )
    groups = {
        "seconds.svg": ("Seconds, by the round trip", _COURSE, _by_rtt),
        "rooms.svg": ("Seconds in a room, by its size", _ROOMS, _by_size),
        "circuits.svg": ("What circuits carry, side by side", _FILES, _by_circuits),
    }
    for name, (title, subjects, make) in groups.items():
        panels = [
            panel
            for subject in subjects
            if (mine := [each for each in figures if each.subject == subject])
            and (panel := make(subject, mine)).is_wide
        ]
        if panels:
            drawn[name] = draw(title, panels, note=note)
    return drawn


def _counts(figures: Sequence[Figure]) -> Bars:
    """Return bars of what was counted at the longest delay."""
    counted = [each for each in figures if each.round_trips is not None]
    rows: dict[str, dict[str, float]] = {}
    order = list(SUBJECTS)
    for each in sorted(counted, key=lambda each: (order.index(each.subject), each.rtt)):
        rows.setdefault(each.title, {})[each.contestant] = float(each.round_trips or 0)
    return Bars("", rows)


def _by_rtt(subject: str, figures: Sequence[Figure]) -> Lines:
    del subject
    series: dict[str, list[tuple[float, float]]] = {}
    for each in sorted(figures, key=lambda each: each.rtt):
        series.setdefault(each.contestant, []).append((each.rtt, each.seconds))
    return Lines(figures[0].title.partition(",")[0], "round trip, s", "seconds", series)


def _by_size(subject: str, figures: Sequence[Figure]) -> Lines:
    series: dict[str, list[tuple[float, float]]] = {}
    for each in sorted(figures, key=lambda each: each.size):
        series.setdefault(each.contestant, []).append((each.size, each.seconds))
    title = "a later message" if subject == "room-later" else "enter and a first one"
    return Lines(title, "members, two devices each", "seconds", series)


def _by_circuits(subject: str, figures: Sequence[Figure]) -> Lines:
    points = [
        (float(each.contestant.split()[0]), each.size / each.seconds / 1e6)
        for each in figures
    ]
    title = "sent" if subject == "file-sent" else "fetched"
    return Lines(title, "circuits", "MB/s", {"ours": sorted(points)})
