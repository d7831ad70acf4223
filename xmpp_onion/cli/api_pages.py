"""Write a page for each public module: its names, signatures and docstrings.

    python -m xmpp_onion.cli.api_pages DIR

Nothing of it is kept: ``scripts/docs`` writes it anew into each site.
"""

import ast
import enum
import importlib
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["MODULES", "Pages", "doc", "members", "public", "slug", "told", "write"]

MODULES = (
    "xmpp_onion",
    "xmpp_onion.bot",
    "xmpp_onion.errors",
    "xmpp_onion.testing",
    "xmpp_onion.server",
)
# A section of a docstring: its title, alone on a line.
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$")
_ENTRY = re.compile(r"^ {4}(\*{0,2}[\w.]+): (.*)$")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_CODE = re.compile(r"`([A-Za-z_][\w.]*)(\(\))?`")


def public(name: str) -> ModuleType:
    """Import a module whose ``__all__`` is what a page is about."""
    return importlib.import_module(name)


def slug(name: str) -> str:
    """Return the anchor of a heading, as Python-Markdown makes it."""
    return re.sub(r"[^\w-]", "", name).lower()


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the public members of a class that are ours and can be asked for help."""
    for name in sorted(dir(kind)):
        if name.startswith("_") or issubclass(kind, enum.Enum):
            continue
        found = inspect.getattr_static(kind, name)
        if isinstance(found, classmethod | staticmethod):
            found = found.__func__
        if isinstance(found, property):
            found = found.fget
        if inspect.isfunction(found) and found.__module__.startswith("xmpp_onion"):
            yield name, inspect.getattr_static(kind, name)


def told(module: ModuleType, name: str) -> str:
    """Return what is said of a public name; of a value what stands below it."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return doc(value)
    for home in homes(module):
        text = below(home, name)
        if text:
            return text
    return ""


def homes(module: ModuleType) -> Iterator[Path]:
    """Yield the files in which a name of a package may be defined."""
    file = Path(str(module.__file__))
    yield file
    if file.name == "__init__.py":
        yield from sorted(file.parent.rglob("*.py"))


def below(file: Path, name: str) -> str:
    """Return the text that stands below an assignment at the top of a module."""
    body = ast.parse(file.read_text("utf-8")).body
    for node, after in itertools.pairwise(body):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        if (
            isinstance(target, ast.Name)
            and target.id == name
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            return inspect.cleandoc(str(after.value.value))
    return ""


def doc(value: object) -> str:
    """Return a docstring of its own, or that of the class that it stands for."""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    return inspect.getdoc(value) or ""


def signature(name: str, value: object) -> str:
    """Return how something is called, without places in memory."""
    if isinstance(value, property):
        return ""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    try:
        text = f"{name}{inspect.signature(value)}"  # type: ignore[arg-type] # refused below
    except (TypeError, ValueError):
        return ""
    is_awaited = inspect.iscoroutinefunction(value)
    text = _ADDRESS.sub("", text).replace("(self, ", "(").replace("(self)", "()")
    text = text.replace("(cls, ", "(").replace("(cls)", "()")
    return f"```python\n{'async ' if is_awaited else ''}{text}\n```\n"


class Pages:
    """All pages, which link to each other."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        for module in MODULES:
            for name in public(module).__all__:
                value = getattr(public(module), name)
                self.places.setdefault(name, f"{module}.md#{slug(name)}")
                if inspect.isclass(value):
                    for part, _ in members(value):
                        whole = f"{name}.{part}"
                        self.places.setdefault(whole, f"{module}.md#{slug(whole)}")

    def page(self, name: str) -> str:
        """Return the page of a module."""
        module = public(name)
        parts = [f"# `{name}`\n", self.text(doc(module))]
        for each in module.__all__:
            value = getattr(module, each)
            parts += self.entry("##", each, value, told(module, each))
            if inspect.isclass(value):
                for part, member in members(value):
                    whole = f"{each}.{part}"
                    parts += self.entry("###", whole, member, doc(member))
        return "\n".join(parts)

    def entry(self, level: str, name: str, value: object, text: str) -> list[str]:
        """Return a heading, how it is called, and what it does."""
        return [f"{level} {name}\n", signature(name, value), self.text(text)]

    def text(self, text: str) -> str:
        """Return a docstring as Markdown."""
        lines: list[str] = []
        is_code = False
        for line in text.splitlines():
            if is_code and line and not line.startswith("    "):
                lines, is_code = [*lines, "```", ""], False
            if is_code:
                lines.append(line.removeprefix("    "))
            elif line.endswith("::"):
                is_code = True
                head = line.removesuffix("::")
                lines += [*([f"{self.linked(head)}:"] if head else []), "", "```python"]
            elif _SECTION.match(line):
                lines += ["", f"**{line.removesuffix(':')}**", ""]
            elif entry := _ENTRY.match(line):
                lines.append(f"- `{entry[1]}`: {self.linked(entry[2])}")
            else:
                lines.append(self.linked(line.strip()))
        return "\n".join([*lines, *(["```"] if is_code else []), ""])

    def linked(self, line: str) -> str:
        """Return a line whose names lead to where they are explained."""
        line = _ROLE.sub(r"`\1`", line).replace("``", "`")

        def link(found: re.Match[str]) -> str:
            name = found[1].removeprefix("xmpp_onion.")
            place = self.places.get(name)
            return found[0] if place is None else f"[{found[0]}]({place})"

        return _CODE.sub(link, line)


def write(folder: Path) -> None:
    """Write all pages, and one that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = Pages()
    for name in MODULES:
        (folder / f"{name}.md").write_text(pages.page(name), "utf-8")
    names = "\n".join(f"- [`{name}`]({name}.md)" for name in MODULES)
    head = "# Python\n\nEach public name, as its docstring explains it.\n\n"
    (folder / "index.md").write_text(textwrap.dedent(head) + names + "\n", "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
