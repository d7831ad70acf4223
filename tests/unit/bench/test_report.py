import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from xmpp_onion.bench.figures import Figure
from xmpp_onion.bench.programme import Machine
from xmpp_onion.bench.report import plots, write
from xmpp_onion.cli.json_lines import faults

MACHINE = Machine(
    "0.1.0",
    "3.11.7",
    "Linux x86_64",
    2,
    0.5,
    "13.0.1",
    datetime(2026, 11, 26, tzinfo=UTC),
)
LOGINS = [
    Figure("login", name, rtt, 0.1 + rtt * count, count)
    for rtt in (0.0, 1.0)
    for name, count in (("bare", 13), ("ours", 2))
]


def parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - we wrote it


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    written = write(tmp_path, MACHINE, LOGINS)

    assert [path.name for path in written] == [
        *("figures.md", "figures.jsonl", "round-trips.svg", "seconds.svg")
    ]
    assert str(MACHINE) in (tmp_path / "figures.md").read_text()
    lines = [
        json.loads(line)
        for line in (tmp_path / "figures.jsonl").read_text().splitlines()
    ]
    assert [line["event"] for line in lines] == ["machine", *["figure"] * 4]
    assert [fault for line in lines for fault in faults(line)] == []
    for path in written[2:]:
        parse(path.read_text())


def test_a_bound_on_bytes_is_told_beside_the_machine() -> None:
    assert "20 kB/s a connection" in str(replace(MACHINE, rate=20_000))
    assert "kB/s" not in str(MACHINE)


def test_what_got_lost_is_told_beside_the_machine() -> None:
    assert "1.5 % of packets lost" in str(replace(MACHINE, loss=0.015))
    assert "lost" not in str(MACHINE)


def test_of_one_delay_no_line_is_drawn() -> None:
    assert set(plots("here", LOGINS[:2])) == {"round-trips.svg"}


def test_rooms_and_circuits_have_pictures_of_their_own() -> None:
    figures = [
        *(Figure("room", "ours", 0.5, size / 10, 4, size) for size in (10, 100)),
        *(Figure("file-sent", f"{n} circuits", 0.5, 9 / n, size=10**7) for n in (1, 3)),
    ]

    drawn = plots("here", figures)

    assert set(drawn) == {"round-trips.svg", "rooms.svg", "circuits.svg"}
    assert "MB/s" in drawn["circuits.svg"]
