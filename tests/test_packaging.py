"""The wheel: the same bytes each time, with all that a user needs and no more."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build(folder: Path) -> Path:
    """Build the wheel as pip does, with the locked hatchling and no network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    built = subprocess.run(
        [*command, str(folder)], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_two_builds_are_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.in", "*.json")
        for path in (ROOT / "xmpp_onion").rglob(pattern)
    }

    assert modules <= names_in(wheel)
    assert "xmpp_onion/py.typed" in names_in(wheel)


@pytest.mark.parametrize("name", ["prosody-config", "ejabberd-config"])
def test_the_configuration_of_the_server_is_in_the_wheel(
    wheel: Path, name: str
) -> None:
    source = ROOT / name
    files = {
        f"xmpp_onion/server/{name}/{path.relative_to(source).as_posix()}"
        for path in source.rglob("*")
        if path.is_file()
    }

    assert files
    assert files <= names_in(wheel)


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    others = {
        name
        for name in names_in(wheel)
        if not name.startswith("xmpp_onion/")
        and not name.partition("/")[0].endswith(".dist-info")
    }

    (page,) = others
    assert page.endswith(".data/data/share/man/man1/xmpp-onion.1")


def test_the_wheel_brings_the_command_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (
            archive.read(name).decode()
            for name in archive.namelist()
            if name.endswith("/entry_points.txt")
        )

    assert "xmpp-onion = xmpp_onion.__main__:main" in entry_points
    assert "[pytest11]\nxmpp_onion = xmpp_onion.testing.plugin" in entry_points
    assert any(name.endswith("/licenses/LICENSE") for name in names_in(wheel))


def imports() -> Iterator[str]:
    """Yield the top name of each module that the package imports."""
    for path in (ROOT / "xmpp_onion").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def test_the_wheel_asks_for_what_the_package_imports_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (
            archive.read(name).decode()
            for name in archive.namelist()
            if name.endswith(".dist-info/METADATA")
        )
    asked = {
        name.lower()
        for name in re.findall(
            r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE
        )
    }
    # pytest loads its plug-in itself; whoever has no pytest never does. What we are
    # measured beside is loaded where it is installed.
    ours = {"xmpp_onion", "pytest", "slixmpp_omemo"}
    others = set(imports()) - set(sys.stdlib_module_names) - ours
    needed = {
        packages_distributions()[name][0].lower().replace("_", "-") for name in others
    }

    assert asked == needed
