"""scripts/picture: what it takes for a scene, and what it draws of a terminal.

The pictures themselves come from real runs; tests/test_docs.py looks them over.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.pictures.scene import SCENES, read_scene, read_scenes
from scripts.pictures.svg import Shown, draw

SCENE = """
title = "A word"
people = ["alice", "alice:phone"]

[screens.alice]
columns = 80
rows = 24

[[steps]]
screen = "alice"
type = "xmpp-onion chat {alice}"
until = "to {alice}"
draw = true
"""


def found(picture: str, what: str) -> list[ElementTree.Element]:
    drawn = ElementTree.fromstring(picture)  # noqa: S314 - just drawn
    return drawn.findall(f".//{{*}}{what}")


def texts(picture: str) -> list[tuple[str, str]]:
    return [(str(each.get("x")), str(each.text)) for each in found(picture, "text")]


@pytest.mark.parametrize("path", sorted(SCENES.glob("*.toml")), ids=lambda x: x.stem)
def test_every_scene_is_understood(path: Path) -> None:
    scene = read_scene(path)

    assert scene.title
    assert any(screen.is_drawn for screen in scene.screens.values())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('screen = "alice"', 'screen = "bob"'),
        ("draw = true", "draw = false"),
        ("draw = true", "drawn = true"),
        ('until = "to {alice}"', 'until = "("'),
        ('until = "to {alice}"', 'until = "a"\nkeep = "b"'),
    ],
    ids=["no such screen", "draws nothing", "no such word", "no pattern", "no table"],
)
def test_a_scene_that_means_nothing_is_refused(
    tmp_path: Path, wrong: str, right: str
) -> None:
    path = tmp_path / "one.toml"
    path.write_text(SCENE)
    assert read_scene(path).people == ("alice", "alice:phone")
    path.write_text(SCENE.replace(wrong, right))

    with pytest.raises((ValueError, TypeError, re.error)):
        read_scene(path)


def test_a_scene_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match="no scene film; there are: chat"):
        read_scenes(["film"])


def test_letters_stand_in_their_columns_as_text() -> None:
    picture = draw("t", [Shown("alice", 20, ("a  <b>\x1b[32m  c\x1b[0m d",))])

    assert texts(picture) == [
        ("14", "alice"), ("14", "a  <b>"), ("81.2", "c"), ("98", "d"),
    ]  # fmt: skip
    assert "fill:#8fcc79" in picture


def test_blocks_are_shapes_and_touch_each_other() -> None:
    picture = draw("t", [Shown("q", 4, ("\u2588\u2588\u2580", "\u2584"))])
    paths = [each.get("d") for each in found(picture, "path")]

    assert paths == [
        "M14 28h16.8v18h-16.8zM30.8 28h8.4v9h-8.4z", "M14 55h8.4v9h-8.4z",
    ]  # fmt: skip
    assert texts(picture) == [("14", "q")]


def test_a_line_in_reverse_has_its_ground_to_the_last_blank() -> None:
    picture = draw("t", [Shown("r", 9, ("\x1b[7m ab      \x1b[0m",))])

    assert '<rect x="14" y="28" width="75.6" height="18" fill="#d6dae0"/>' in picture
    assert ("22.4", "ab") in texts(picture)
