import re
import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.bench.plot import Bars, Lines, draw

SVG = "{http://www.w3.org/2000/svg}"
LINES = Lines(
    "a <login>",
    "round trip, s",
    "seconds",
    {"bare": [(0, 1), (1, 13.7)], "ours": [(0, 0.3), (1, 1.1)]},
)
BARS = Bars("", {"a login": {"bare": 13, "ours": 1}, "nothing": {"ours": 0}})


def parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - we wrote it


def points(line: ET.Element) -> list[tuple[float, ...]]:
    pairs = (line.get("points") or "").split()
    return [tuple(map(float, pair.split(","))) for pair in pairs]


def texts(picture: ET.Element) -> list[str]:
    return [each.text or "" for each in picture.iter(f"{SVG}text")]


def test_a_picture_is_svg_that_loads_and_runs_nothing() -> None:
    text = draw("Seconds & trips", [LINES, BARS], note="here")
    picture = parse(text)

    assert {each.tag for each in picture.iter()} == {
        f"{SVG}{name}"
        for name in ("svg", "g", "title", "rect", "text", "line", "polyline", "circle")
    }
    assert re.findall(r"(?:href|url|style|on\w+)=", text) == []
    assert {"Seconds & trips", "here", "a <login>", "bare 13"} <= set(texts(picture))


def test_lines_end_where_their_values_are() -> None:
    [first, second] = parse(draw("t", [LINES])).iter(f"{SVG}polyline")
    ends = [
        [
            tuple(map(float, point.split(",")))
            for point in (each.get("points") or "").split()
        ]
        for each in (first, second)
    ]

    for line in ends:
        assert line[0][0] < line[1][0]  # to the right
        assert line[0][1] > line[1][1]  # and up, which is down in SVG
    assert ends[0][1][1] < ends[1][1][1]  # the slower one ends higher


def test_bars_are_as_long_as_their_values() -> None:
    picture = parse(draw("t", [BARS]))
    widths = [float(each.get("width") or 0) for each in picture.iter(f"{SVG}rect")][1:]

    assert widths[0] == pytest.approx(13 * widths[1], rel=0.01)
    assert widths[2] == 1  # nothing can be seen, too


def test_names_stand_beside_their_lines_and_not_over_each_other() -> None:
    close = Lines("t", "x", "y", {"a": [(1, 1)], "b": [(1, 1)], "c": [(1, 1.01)]})
    picture = parse(draw("t", [close]))
    heights = [
        float(each.get("y") or 0)
        for each in picture.iter(f"{SVG}text")
        if each.text in {"a", "b", "c"}
    ]

    assert len({*heights}) == 3
    assert min(abs(a - b) for a in heights for b in heights if a is not b) >= 11


def test_one_place_to_the_right_is_no_line() -> None:
    assert LINES.is_wide
    assert not Lines("t", "x", "y", {"a": [(1, 1)], "b": [(1, 2)]}).is_wide


def test_a_panel_without_height_is_drawn_too() -> None:
    parse(draw("t", [Lines("t", "x", "y", {"a": [(0, 0), (0, 0)]})]))
