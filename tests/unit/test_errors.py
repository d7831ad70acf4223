"""The errors: one tree, told truly, and messages that say how to mend things."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from xmpp_onion import errors
from xmpp_onion.errors import XmppOnionError

CLASSES: dict[str, type[XmppOnionError]] = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, XmppOnionError)
}


PACKAGE = Path(errors.__file__).parent
# What a person at a terminal meets, and can do something about.
MENDABLE = (
    "account.py", "agent", "cli", "configuration", "places.py", "private.py", "seal.py",
    "sealed.py", "server", "transport",
)  # fmt: skip


def documented_parents() -> dict[str, str | None]:
    """Read the tree in the module's docstring: each class and its parent."""
    parents: dict[str, str | None] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1]) // 4
            branch[depth:] = [match[2]]
            parents[match[2]] = branch[depth - 1] if depth else None
    return parents


def real_parents() -> dict[str, str | None]:
    return {
        name: next((base for base in CLASSES if CLASSES[base] in cls.__bases__), None)
        for name, cls in CLASSES.items()
    }


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert documented_parents() == real_parents()


def test_every_error_is_public_and_nothing_else_is() -> None:
    assert sorted(CLASSES) == errors.__all__


def test_an_address_error_is_also_a_value_error() -> None:
    assert issubclass(errors.AddressError, ValueError)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_says_what_it_means(name: str) -> None:
    documentation = CLASSES[name].__doc__ or ""

    assert documentation.splitlines()[0].endswith(".") or ":" in documentation


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (XmppOnionError("it failed"), "it failed"),
        (XmppOnionError("it failed", why="rain"), "it failed: rain"),
        (XmppOnionError("it failed", fix="Wait."), "it failed. Wait."),
        (
            XmppOnionError("it failed", why="rain", fix="Wait."),
            "it failed: rain. Wait.",
        ),
    ],
)
def test_an_error_reads_what_why_and_how_to_mend(
    error: XmppOnionError, text: str
) -> None:
    assert str(error) == text


def data_of(cls: type[XmppOnionError]) -> list[str]:
    """Name what ``cls`` insists on beside ``what``."""
    return [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and parameter.default is parameter.empty
    ]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_carries_its_data_as_attributes(name: str) -> None:
    data = {key: object() for key in data_of(CLASSES[name])}

    error = CLASSES[name]("it failed", why="rain", fix="Wait.", **data)

    assert str(error) == "it failed: rain. Wait."
    assert {key: getattr(error, key) for key in data} == data


PAGE = (Path(__file__).parent.parent.parent / "docs/reference/errors.md").read_text()
SECTIONS = {
    name.strip(): text
    for name, _, text in (part.partition("\n") for part in PAGE.split("\n## ")[1:])
}


def test_the_page_of_the_errors_has_each_error_and_no_other() -> None:
    assert list(SECTIONS) == list(documented_parents())


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_page_says_of_each_error_its_code_and_what_to_do(name: str) -> None:
    documentation = inspect.cleandoc(CLASSES[name].__doc__ or "")
    first = " ".join(documentation.partition("\n\n")[0].split()).replace("``", "`")

    told = re.fullmatch(
        r"\n(.+)\n\n- Exit code: ([0-9]+)\n- What to do: (.+)\n*", SECTIONS[name]
    )

    assert told is not None
    assert told[1] == first
    assert int(told[2]) == CLASSES[name].exit_code
    assert told[3].endswith(("`", "."))


def without_a_way_out(source: str) -> list[int]:
    """Return the lines where an error is made without ``fix``.

    How a line of the chat is used says itself how to mend it: a ``UsageError``.
    """
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in CLASSES.keys() - {"UsageError"}
        and not {"fix", None} & {keyword.arg for keyword in node.keywords}
    ]


@pytest.mark.parametrize("place", MENDABLE)
def test_an_error_that_somebody_can_mend_says_how(place: str) -> None:
    where = PACKAGE / place
    files = [where] if where.is_file() else sorted(where.rglob("*.py"))

    assert files
    for file in files:
        lines = without_a_way_out(file.read_text("utf-8"))
        assert not lines, f"{file.relative_to(PACKAGE)}: {lines}"


def test_an_error_without_a_way_out_is_noticed() -> None:
    assert without_a_way_out('raise TorError("x", why="y")') == [1]
    assert without_a_way_out('raise TorError("x", fix="y")') == []
