"""A scene: which terminals there are, and what is typed into them, as a TOML file."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCENES: Final = Path(__file__).parent / "scenes"
# The shell has come back, and waits. In `chat` a prompt is another one.
SHELL: Final = r"^\$ ?$"


@dataclass(frozen=True, slots=True)
class Screen:
    """A terminal.

    Attributes:
        name: Stands above it.
        home: Whose home folder it begins in.
        columns: Its width.
        rows: Its height; what is empty at its end is not drawn.
        is_drawn: It is in the picture.
    """

    name: str
    home: str
    columns: int
    rows: int
    is_drawn: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is typed, and what is waited for.

    Attributes:
        screen: Where.
        type: The text, with ``{names}`` of what is known; Enter follows.
        keys: Names of keys, as tmux has them, in place of a text.
        until: A pattern that some line of the screen matches in the end.
        at: The screen that is waited for, if it is another one.
        keep: Names and patterns: what their first group finds is known by the name.
        draws: The picture is taken here.
    """

    screen: str
    type: str
    keys: tuple[str, ...]
    until: str
    at: str
    keep: dict[str, str]
    draws: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """What one picture shows.

    Attributes:
        name: Of the file of the picture.
        title: What somebody hears who cannot see it.
        people: Homes with an account each, ``bob:phone`` for another device of bob's.
        folder: The home of a server that is not up yet, if there is one.
        screens: The terminals, by name.
        steps: What happens.
    """

    name: str
    title: str
    people: tuple[str, ...]
    folder: str
    screens: dict[str, Screen]
    steps: tuple[Step, ...]


def read_scenes(names: list[str]) -> list[Scene]:
    """Return the scenes of these names, or all.

    Raises:
        SystemExit: There is none of a name.
        ValueError: One is not understood.
    """
    known = {path.stem: path for path in sorted(SCENES.glob("*.toml"))}
    if missing := [name for name in names if name not in known]:
        raise SystemExit(f"no scene {missing[0]}; there are: {' '.join(known)}")
    return [read_scene(known[name]) for name in names or known]


def read_scene(path: Path) -> Scene:
    """Return the scene of a file.

    Raises:
        ValueError: It says something that means nothing.
    """
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    _only(said, {"title", "people", "server", "screens", "steps"})
    screens = {name: _screen(name, each) for name, each in said["screens"].items()}
    steps = tuple(_step(each) for each in said["steps"])
    for step in steps:
        if not {step.screen, step.at} <= screens.keys():
            raise ValueError(f"{path.name}: no screen {step.screen} or {step.at}")
    if sum(step.draws for step in steps) != 1:
        raise ValueError(f"{path.name}: one step draws, not more and not fewer")
    people = tuple(said.get("people", ()))
    return Scene(
        path.stem, said["title"], people, said.get("server", ""), screens, steps
    )


def _screen(name: str, said: dict[str, object]) -> Screen:
    _only(said, {"home", "columns", "rows", "drawn"})
    home = str(said.get("home", name))
    columns, rows = int(str(said["columns"])), int(str(said["rows"]))
    return Screen(name, home, columns, rows, bool(said.get("drawn", True)))


def _step(said: dict[str, object]) -> Step:
    _only(said, {"screen", "type", "keys", "until", "at", "keep", "draw"})
    screen, keep, keys = str(said["screen"]), said.get("keep", {}), said.get("keys", [])
    if not isinstance(keep, dict) or not isinstance(keys, list):
        raise TypeError(f"keep is a table and keys is a list: {said}")
    until = str(said.get("until", SHELL))
    for pattern in (until, *keep.values()):
        re.compile(re.sub(r"\{\w+\}", "x", pattern))
    return Step(
        screen=screen,
        type=str(said.get("type", "")),
        keys=tuple(keys),
        until=until,
        at=str(said.get("at", screen)),
        keep=keep,
        draws=bool(said.get("draw")),
    )


def _only(said: dict[str, object], known: set[str]) -> None:
    if unknown := said.keys() - known:
        raise ValueError(f"a scene knows no {', '.join(sorted(unknown))}")
