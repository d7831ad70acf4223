"""What the package promises by name: each name is there, sorted, and once."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xmpp_onion

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xmpp_onion"
SUBPACKAGES = sorted(
    path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.read_text()
)


def sort_key(name: str) -> tuple[bool, bool, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff keeps."""
    return (not name.isupper(), not name[:1].isupper(), name)


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_a_subpackage_says_what_it_is_and_exports_sorted_names(name: str) -> None:
    module = importlib.import_module(f"xmpp_onion.{name}")
    exported = getattr(module, "__all__", [])

    assert module.__doc__
    assert exported == sorted(set(exported), key=sort_key)


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_a_subpackage_exports_all_that_it_binds_and_no_more(name: str) -> None:
    module = importlib.import_module(f"xmpp_onion.{name}")
    exported = getattr(module, "__all__", [])

    for public in exported:
        getattr(module, public)  # also what is loaded on first use
    bound = {
        public
        for public, value in vars(module).items()
        if not public.startswith("_")
        and not isinstance(value, type(importlib))
        and getattr(value, "__module__", "").startswith("xmpp_onion")
    }
    assert bound <= set(exported)


@pytest.mark.parametrize("name", xmpp_onion.__all__)
def test_a_public_name_leads_somewhere(name: str) -> None:
    assert getattr(xmpp_onion, name) is not None


def test_the_public_names_are_sorted() -> None:
    assert xmpp_onion.__all__ == sorted(set(xmpp_onion.__all__), key=sort_key)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Telephone'"):
        getattr(xmpp_onion, "Telephone")  # noqa: B009 - mypy would refuse the dot


def test_importing_the_package_loads_neither_xmpp_nor_omemo_nor_tor() -> None:
    heavy = {"slixmpp", "omemo", "slixmpp_omemo", "stem", "aiodns", "aiohttp"}
    code = "import sys, xmpp_onion; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.split()

    assert not heavy.intersection(loaded)


def test_the_version_is_the_newest_of_the_changelog() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    changelog = (ROOT / "CHANGELOG.md").read_text()
    first = next(line for line in changelog.splitlines() if line.startswith("## "))

    assert settings["tool"]["hatch"]["version"]["path"] == "xmpp_onion/version.py"
    assert xmpp_onion.__version__ in first
