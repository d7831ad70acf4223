"""Judge histories: what was lost, repeated, reordered or made up.

    python checker.py HISTORY…        prints figures as JSON; exit 1 if one is wrong
    python checker.py --room HISTORY… those of the members of a room

It knows the files and nothing of the library that wrote them. Each file is that of
one account, over all processes it had, in the order in which things happened.

*lost*: accepted, and handled by nobody; in a room, not by each of the others.
*repeated*: the same id handled again, unless
it was the last that a process handled, and the first of the next one: that process
ended before it could ask for another, and at-least-once means exactly this.
*reordered*: handled before a text that the same sender had finished handing over
earlier. *forged*: handled though nobody sent it, or refused it, or under another id.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

Entry = Mapping[str, str | float]


class Text(NamedTuple):
    """A text of one sender, by the number that it carries."""

    sender: str
    number: int


@dataclass
class Sent:
    """What the sender's history says about a text.

    Attributes:
        begun: The place in the history where it was meant to be sent.
        ended: The place from which on its fate was sealed: the call came back, or
            a new process began.
        id: Its message id, if the sender learned it.
        state: ``intent``, ``accepted`` or ``refused``.
    """

    begun: int
    ended: float = float("inf")
    id: str = ""
    state: str = "intent"


@dataclass
class Figures:
    """What came out."""

    intended: int = 0
    accepted: int = 0
    refused: int = 0
    handled: int = 0
    handled_again: int = 0
    processes: int = 0
    unreadable: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.repeated or self.reordered or self.forged)


def judge(histories: Sequence[Sequence[Entry]], *, in_room: bool = False) -> Figures:
    """Return the figures of a run.

    Args:
        histories: Of all accounts.
        in_room: Each text is for everybody else, and not for anybody.
    """
    figures = Figures()
    sent: dict[Text, Sent] = {}
    for history in histories:
        sent.update(_read_sent(history, figures))
    seen = [
        (_who(history), _check_handled(history, sent, figures)) for history in histories
    ]
    for text, what in sent.items():
        figures.intended += 1
        figures.accepted += what.state == "accepted"
        figures.refused += what.state == "refused"
        others = [texts for who, texts in seen if who != text.sender]
        is_there = (all if in_room else any)(text in texts for texts in others)
        if what.state == "accepted" and not is_there:
            figures.lost.append(_name(text))
    return figures


def _who(history: Sequence[Entry]) -> str:
    return next((str(e["who"]) for e in history if e["what"] == "started"), "")


def _read_sent(history: Sequence[Entry], figures: Figures) -> dict[Text, Sent]:
    sent: dict[Text, Sent] = {}
    who = ""
    for place, entry in enumerate(history):
        what = entry["what"]
        if what == "started":
            who = str(entry["who"])
            figures.processes += 1
            for text in sent.values():
                text.ended = min(text.ended, place)
        elif what == "intent":
            sent[Text(who, int(entry["number"]))] = Sent(begun=place)
        elif what in {"accepted", "refused"}:
            text = sent[Text(who, int(entry["number"]))]
            text.ended, text.state = place, str(what)
            text.id = str(entry.get("id", ""))
    return sent


def _check_handled(
    history: Sequence[Entry], sent: Mapping[Text, Sent], figures: Figures
) -> set[Text]:
    seen: dict[Text, str] = {}
    newest: dict[str, Text] = {}
    for entry, text, may_repeat in _handled(history, figures):
        figures.handled += 1
        source = sent.get(text)
        message_id = str(entry["id"])
        if source is None or source.state == "refused":
            figures.forged.append(_name(text))
            continue
        if source.id not in {"", message_id}:
            figures.forged.append(f"{_name(text)} under another id")
        if text in seen:
            if may_repeat and seen[text] == message_id:
                figures.handled_again += 1
            else:
                figures.repeated.append(_name(text))
            continue
        seen[text] = message_id
        before = newest.get(text.sender)
        if before is not None and sent[before].begun > source.ended:
            figures.reordered.append(f"{_name(text)} after {before.number}")
        if before is None or source.begun > sent[before].begun:
            newest[text.sender] = text
    return set(seen)


def _handled(
    history: Sequence[Entry], figures: Figures
) -> Iterator[tuple[Entry, Text, bool]]:
    """Yield what was handled, and whether it may be a repetition."""
    last: Text | None = None
    is_first = False
    for entry in history:
        if entry["what"] == "started":
            is_first = True
        elif entry["what"] == "unreadable":
            figures.unreadable += 1
        elif entry["what"] == "handled":
            text = Text(str(entry["sender"]), int(entry["number"]))
            yield entry, text, is_first and text == last
            is_first, last = False, text


def _name(text: Text) -> str:
    return f"{text.sender.partition('@')[0]} {text.number}"


def read(path: Path) -> list[Entry]:
    """Return the lines of a history; one that a kill cut short did not happen."""
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def main(arguments: Sequence[str]) -> int:
    """Judge the files named, and return the exit status."""
    in_room = "--room" in arguments
    names = [name for name in arguments if name != "--room"]
    figures = judge([read(Path(name)) for name in names], in_room=in_room)
    print(json.dumps(vars(figures)))  # noqa: T201 - what it is for
    return 0 if figures.is_clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
