"""What the commands print is what docs/reference/json-lines.md says."""

import json
import re
from pathlib import Path

import pytest

from xmpp_onion.cli.json_lines import faults, render

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"
SENT = {"v": 1, "event": "sent", "id": "1", "to": "a", "encrypted": True, "devices": 2,
        "skipped": [], "text_only": 0, "state": "acked", "reason": None}  # fmt: skip


def test_the_page_is_the_table() -> None:
    page = (REFERENCE / "json-lines.md").read_text(encoding="utf-8")

    assert page.partition("\n## ")[2] == render().removeprefix("## ")


def test_a_line_as_the_table_says_has_no_fault() -> None:
    assert faults(SENT) == []
    assert faults({**SENT, "later": "more"}) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"v": 2}, 'it has no "v": 1'),
        ({"devices": "2"}, "devices of sent is no whole"),
        ({"devices": True}, "devices of sent is no whole"),
        ({"encrypted": 1}, "encrypted of sent is no yes/no"),
        ({"id": None}, "id of sent is null"),
        ({"skipped": "a"}, "skipped of sent is no list"),
    ],
)
def test_what_is_of_another_kind_is_a_fault(
    change: dict[str, object], fault: str
) -> None:
    assert faults(SENT | change) == [fault]


def test_what_is_not_there_is_a_fault_unless_it_need_not_be() -> None:
    assert faults({"v": 1, "event": "sent", **{
        name: value for name, value in SENT.items() if name != "state"
    }}) == ["sent has no state"]  # fmt: skip
    assert faults({"v": 1, "event": "contact", "jid": "a", "state": "both"}) == []
    assert faults({"v": 1, "event": "timer", "jid": "a", "seconds": None}) == []


def test_every_example_in_the_reference_is_as_the_table_says() -> None:
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    lines = [
        json.loads(text)
        for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)
        for text in block.splitlines()
        if ", …}" not in text  # which leaves out what is like in all of its kind
    ]
    # The demo times the steps that it plays, under the same names.
    lines = [line for line in lines if "seconds" not in line or "jid" in line]

    assert len(lines) > 50
    found = [fault for line in lines for fault in faults(line)]
    # An example need not show again what it has in common with the one above it.
    assert [fault for fault in found if " has no " not in fault] == []
