"""What the pages say to programs and to newcomers holds: commands, risks, DOAP."""

import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from xmpp_onion.cli import main as cli

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
SHELL = re.compile(r"^```(?:sh|console)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Where a command of a shell ends, and what may stand before ours.
END = {"|", ">", "<", ">>", "&&", "||", ";"}
BEFORE = re.compile(r"(?:[#$] |.*\| |sudo |[A-Z_]+=\S+ )*xmpp-onion(?= |$)")

TEST = re.compile(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`")
STATUS = ("mitigated", "partly", "accepted", "open")

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DOAP = "{http://usefulinc.com/ns/doap#}"
XMPP = "{https://linkmauve.fr/ns/xmpp-doap#}"


# --- commands ---------------------------------------------------------------------


def typed(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of each command line of ours that a page shows."""
    for block in SHELL.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            found = BEFORE.match(line)
            if found is None:
                continue
            words: list[str] = []
            for word in shlex.split(line[found.end() :], comments=True):
                if word in END:
                    break
                words.append(word)
            yield words


def parse(words: list[str]) -> None:
    """Look up the command that is meant, and its options; nothing is run.

    Raises:
        click.UsageError: There is no such command or option.
    """
    command: click.Command = cli._CLI
    context = click.Context(command)
    while True:
        _, rest, _ = command.make_parser(context).parse_args(list(words))
        if not isinstance(command, click.Group) or not rest:
            return
        name, *words = rest
        inner = command.get_command(context, name)
        if inner is None:
            raise click.UsageError(f"there is no command {name}")
        command, context = inner, click.Context(inner, parent=context, info_name=name)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_that_is_shown_exists(page: Path) -> None:
    for words in typed(page):
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"xmpp-onion {shlex.join(words)}: {error.message}")


def test_commands_are_found_in_the_pages() -> None:
    found = [words for page in PAGES for words in typed(page)]

    assert len(found) > 100
    assert ["doctor"] in found
    with pytest.raises(click.UsageError):
        parse(["send", "--no-such-option", "alice"])


# --- the threat model -------------------------------------------------------------


def risks() -> list[list[str]]:
    """Return the rows of the threat model: who, status, what holds."""
    text = (DOCS / "explanation" / "threat-model.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def unkept(holds: str) -> list[str]:
    """Return the tests of a row that are not where it says, or nothing is named."""
    wrong, last, names = [], "", 0
    for file, name in TEST.findall(holds):
        if not file and not name:
            continue
        names += 1
        last = file or last
        place = ROOT / last
        text = place.read_text("utf-8") if place.is_file() else ""
        if not text or (name and not re.search(rf"def {name}\(", text)):
            wrong.append(f"{last}::{name}")
    return wrong if names else ["no test is named"]


def test_each_risk_has_a_status_and_a_test_that_keeps_it() -> None:
    rows = risks()

    assert len(rows) > 60
    assert [row[0] for row in rows if len(row) != 3] == []
    assert [who for who, status, _ in rows if not status.startswith(STATUS)] == []
    assert {
        who: unkept(holds)
        for who, status, holds in rows
        if not status.startswith("open") and unkept(holds)
    } == {}


def test_a_test_that_is_not_there_is_found() -> None:
    here = "tests/test_docs_site.py"

    assert unkept(f"`{here}::test_a_test_that_is_not_there_is_found`") == []
    assert unkept(f"`{here}::test_nothing`") == [f"{here}::test_nothing"]
    assert unkept("`tests/test_nothing.py`") == ["tests/test_nothing.py::"]
    assert unkept("It holds.") == ["no test is named"]


# --- DOAP -------------------------------------------------------------------------


def numbers(kind: str, digits: str) -> set[str]:
    """Return the numbers that the page for people gives to what is implemented."""
    text = (DOCS / "reference" / "xeps.md").read_text("utf-8")
    cells = re.findall(rf"^\| ({kind}[^|]*)\|", text, re.MULTILINE)
    return {number for cell in cells for number in re.findall(digits, cell)}


def test_the_doap_file_names_what_the_page_names() -> None:
    project = ET.parse(DOCS / "xmpp-onion.doap").getroot().find(f"{DOAP}Project")  # noqa: S314 - ours
    assert project is not None
    xeps = [each.attrib[f"{RDF}resource"] for each in project.iter(f"{XMPP}xep")]
    states = [each.text for each in project.iter(f"{XMPP}status")]
    rfcs = [
        each.attrib[f"{RDF}resource"]
        for each in project.findall(f"{DOAP}implements")
        if f"{RDF}resource" in each.attrib
    ]

    place = "https://xmpp.org/extensions/xep-{}.html"
    assert sorted(xeps) == sorted(map(place.format, numbers("XEP", r"\b0\d{3}\b")))
    assert len(states) == len(xeps)
    assert set(states) <= {"complete", "partial"}
    place = "https://www.rfc-editor.org/info/rfc{}"
    assert sorted(rfcs) == sorted(map(place.format, numbers("RFC", r"\b\d{4}\b")))


# --- how to test a bot ------------------------------------------------------------


def test_the_tests_that_are_shown_for_a_bot_pass(tmp_path: Path) -> None:
    page = (DOCS / "howto" / "test-a-bot.md").read_text("utf-8")
    shown = "\n".join(PYTHON.findall(page))
    (tmp_path / "test_shown.py").write_text(shown)
    bot = (ROOT / "examples" / "echo_bot.py").read_text("utf-8")
    (tmp_path / "echo_bot.py").write_text(bot)
    # Named, for the package may be installed or not: entry points are not looked at.
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "xmpp_onion.testing.plugin"]
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, "--rootdir=.", "."],
        capture_output=True, check=False, cwd=tmp_path, text=True, timeout=120,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
