"""What is missing on a machine, in one error before anything is started."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from xmpp_onion.errors import (
    ProsodyNotFoundError,
    ServerError,
    TorNotFoundError,
    XmppOnionError,
)
from xmpp_onion.server.options import Engine
from xmpp_onion.server.programs import check_programs


@pytest.fixture
def has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with all programs that there are; empty at first."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(has: Path, names: Sequence[str]) -> None:
    for name in names:
        (has / name).touch(mode=0o755)


@pytest.mark.parametrize(
    ("engine", "programs", "kind", "line"),
    [
        (Engine.PROSODY, (), ProsodyNotFoundError, "prosody tor lua-dbi-sqlite3"),
        (Engine.PROSODY, ("prosody",), TorNotFoundError, "apt-get install tor"),
        (Engine.PROSODY, ("tor",), ProsodyNotFoundError, "apt-get install prosody lua"),
        (Engine.EJABBERD, (), ServerError, "apt-get install ejabberd tor"),
    ],
)
def test_what_is_missing_is_one_error_with_the_line_that_installs_it(
    has: Path,
    engine: Engine,
    programs: Sequence[str],
    kind: type[XmppOnionError],
    line: str,
) -> None:
    install(has, ["apt-get", *programs])

    with pytest.raises(kind) as caught:
        check_programs(engine, needs_tor=True)

    assert type(caught.value) is kind
    assert line in caught.value.fix
    assert "dnf" not in caught.value.fix


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("dnf", "dnf install prosody tor lua-unbound"),
        ("brew", "brew install prosody/prosody/prosody tor"),
    ],
)
def test_the_package_manager_is_that_of_the_machine(
    has: Path, manager: str, line: str
) -> None:
    install(has, [manager])

    with pytest.raises(ProsodyNotFoundError) as caught:
        check_programs(Engine.PROSODY, needs_tor=True)

    assert caught.value.fix == f"Install it: {line}"


@pytest.mark.usefixtures("has")
def test_on_a_machine_without_a_known_one_each_is_named() -> None:
    with pytest.raises(ProsodyNotFoundError) as caught:
        check_programs(Engine.PROSODY, needs_tor=False)

    assert caught.value.fix.count(" install prosody") == 3
    assert " tor" not in caught.value.fix


@pytest.mark.parametrize("engine", Engine)
def test_a_machine_that_has_all_goes_on(has: Path, engine: Engine) -> None:
    install(has, ["prosody", "erl"])
    check_programs(engine, needs_tor=False)
    install(has, ["tor"])
    check_programs(engine, needs_tor=True)
