"""Each public name has its place in the reference, and says what it is for."""

import inspect
import re
from pathlib import Path

import pytest

from xmpp_onion.cli.api_pages import MODULES, Pages, doc, members, public, told, write

HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]+))?\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("api")
    write(made)
    return made


def headings(page: Path) -> list[str]:
    return HEADING.findall(FENCED.sub("", page.read_text("utf-8")))


@pytest.mark.parametrize("name", MODULES)
def test_each_public_name_has_a_heading(folder: Path, name: str) -> None:
    found = headings(folder / f"{name}.md")

    assert [each for each in public(name).__all__ if each not in found] == []
    assert len(set(map(str.lower, found))) == len(found)  # anchors tell no case


@pytest.mark.parametrize("name", MODULES)
def test_no_public_name_or_member_is_without_a_docstring(name: str) -> None:
    module = public(name)
    empty = [each for each in module.__all__ if not told(module, each)]
    for each in module.__all__:
        value = getattr(module, each)
        if inspect.isclass(value):
            empty += [
                f"{each}.{part}" for part, what in members(value) if not doc(what)
            ]

    assert empty == []


def test_each_link_leads_to_a_heading(folder: Path) -> None:
    wrong, count = [], 0
    for page in folder.glob("*.md"):
        for target, anchor in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
            count += 1
            place = folder / target
            anchors = {
                re.sub(r"[^\w-]", "", each).lower()
                for each in (headings(place) if place.is_file() else [])
            }
            if not place.is_file() or (anchor and anchor not in anchors):
                wrong.append(f"{page.name}: {target}#{anchor}")

    assert wrong == []
    assert count > 50


def test_a_page_says_how_a_name_is_called_and_what_it_takes(folder: Path) -> None:
    text = (folder / "xmpp_onion.bot.md").read_text("utf-8")

    _, _, after = text.partition("\n### Router.untrusted\n")
    own, _, _ = after.partition("\n### ")
    assert "```python\nRouter.untrusted(handler: " in own
    assert "[`Untrusted`](xmpp_onion.bot.md#untrusted)" in own
    assert "- `ValueError`: There is such a handler already." in own
    assert "0x" not in text


def test_code_in_a_docstring_stays_code() -> None:
    text = Pages().text("Say it::\n\n    bot.run()\n\nArgs:\n    name: Of ``Bot``.")

    before, code, after = text.split("```")
    assert before.strip() == "Say it:"
    assert code.split() == ["python", "bot.run()"]
    assert after.split() == [
        "**Args**", "-", "`name`:", "Of", "[`Bot`](xmpp_onion.md#bot)."
    ]  # fmt: skip
