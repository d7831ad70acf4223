"""What the documents show exists and runs: links, commands, code, the picture."""

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from scripts.pictures.scene import read_scenes
from xmpp_onion.cli import main as cli
from xmpp_onion.cli.catalogue import CATALOGUE, describe
from xmpp_onion.cli.json_lines import EVENTS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"xmpp-onion((?: --?[a-z-]+(?: [a-z0-9]+)?)*)((?: [a-z]+)+)")


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def code_of(text: str) -> str:
    """Return the code without its module docstring, in one form."""
    tree = ast.parse(text)
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return ast.unparse(tree)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_block_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-encrypted-bot.md"])
def test_the_bot_that_is_shown_is_the_example(page: str) -> None:
    example = (ROOT / "examples" / "echo_bot.py").read_text(encoding="utf-8")

    shown = [code_of(block) for block in blocks(ROOT / page, "python")]

    assert code_of(example) in shown


def test_the_echo_bot_is_twelve_lines_at_most() -> None:
    text = (ROOT / "examples" / "echo_bot.py").read_text(encoding="utf-8")

    assert len([line for line in text.splitlines() if line.strip()]) <= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    context = click.Context(cli._CLI)

    for _, words in COMMAND.findall(text):
        command: click.Command | None = cli._CLI
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(context, word)
            assert command is not None, f"xmpp-onion{words}: there is no {word}"


# The target, and what is said to who does not see it. Links are looked up above.
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
PICTURES = ROOT / "docs" / "pictures"
PLOTS = ROOT / "docs" / "plots"


def images() -> list[tuple[Path, str, Path]]:
    return [
        (page, said, (page.parent / target).resolve())
        for page in PAGES
        for said, target in IMAGE.findall(page.read_text(encoding="utf-8"))
    ]


def test_each_picture_is_one_of_a_real_run_and_says_what_it_shows() -> None:
    scenes = {f"{scene.name}.svg" for scene in read_scenes([])}
    plots = set(PLOTS.iterdir())

    shown = {path for _, _, path in images()}
    assert {path.name for path in shown - plots} == scenes
    assert {path.name for path in PICTURES.iterdir()} == scenes
    assert plots <= shown
    for page, said, path in images():
        assert path.parent in {PICTURES, PLOTS}, f"{page}: {path}"
        assert len(said) > 20, f"{page}: what does {path.name} show?"


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda x: x.stem)
def test_a_picture_is_small_has_its_text_and_loads_nothing(path: Path) -> None:
    picture = path.read_text(encoding="utf-8")
    drawn = ElementTree.fromstring(picture)  # noqa: S314 - ours
    letters = [each.text for each in drawn.findall(".//{*}text")]

    assert len(picture) < 30_000
    assert any(str(text).startswith("$ ") for text in letters)
    assert {each.tag.partition("}")[2] for each in drawn.iter()} <= {
        "svg", "title", "style", "rect", "path", "text",
    }  # fmt: skip
    assert not re.search(r"href|url\(|@import|@font-face", picture)
    assert not re.search(r"/(?:home|root|tmp|work)/", picture)


@pytest.mark.parametrize("path", sorted(PLOTS.glob("*.svg")), ids=lambda x: x.stem)
def test_a_plot_says_where_it_was_measured_and_loads_nothing(path: Path) -> None:
    plot = path.read_text(encoding="utf-8")

    assert re.search(r"Prosody .*, \d+ cores at load .*, 20\d\d-\d\d-\d\d", plot)
    assert not re.search(r"href|url\(|@import|@font-face|<script", plot)


@pytest.mark.parametrize(
    "page",
    [
        "docs/reference/guarantees.md",
        "docs/reference/traps.md",
        "docs/explanation/threat-model.md",
    ],
)
def test_every_test_that_keeps_a_promise_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    files = re.findall(r"`(tests/[\w/.]+)", text)
    names = re.findall(r"::(test_\w+)", text)
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert files != []
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [name for name in names if f"def {name}(" not in written] == []


# Of the commands for servers and the demo, which have their own pages, and what
# processes say to each other and no command prints.
EVENTS_ELSEWHERE = {
    "again", "backup", "done", "door", "door-key", "end", "files", "followed",
    "initialised", "invite", "lent", "log", "moved", "registered", "restored",
    "revoked", "rotated", "server", "status", "stopped", "tor",
}  # fmt: skip


def test_every_event_that_a_command_prints_is_known() -> None:
    text = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("cli", "agent", "chat")
        for path in (ROOT / "xmpp_onion" / folder).rglob("*.py")
    )
    known = {name for group in EVENTS.values() for name in group}
    printed = set(re.findall(r'"event": "([a-z-]+)"', text))

    assert printed - EVENTS_ELSEWHERE - known == set()
    assert not EVENTS_ELSEWHERE & known


def test_the_catalogue_of_commands_is_theirs() -> None:
    written = CATALOGUE.read_text(encoding="utf-8")

    assert json.loads(written) == describe(cli.program()), (
        "write it anew: python -m xmpp_onion.cli.catalogue"
    )
