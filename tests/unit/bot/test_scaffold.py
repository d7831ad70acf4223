"""A new bot's folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from xmpp_onion.bot import make_project
from xmpp_onion.errors import UsageError

ROOT = Path(__file__).parents[3]


def test_a_new_bot_passes_its_own_test_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "alerts"
    files = make_project("alerts", folder)

    assert {path.name for path in files} == {
        "Dockerfile",
        "README.md",
        "alerts.py",
        "alerts.service",
        "pytest.ini",
        "test_alerts.py",
    }
    assert "@" not in "".join(
        path.read_text().replace("@bot", "").replace("@….onion", "") for path in files
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_types_of_a_new_bot_are_right_in_strict_mode(tmp_path: Path) -> None:
    files = make_project("alerts", tmp_path / "alerts")

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml"]
        + [str(path) for path in files if path.suffix == ".py"],
        cwd=ROOT,  # its cache has what the bot imports
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "no issues found in 2 source files" in done.stdout, done.stdout + done.stderr


def test_what_starts_a_new_bot_starts_it_by_its_own_command(tmp_path: Path) -> None:
    make_project("alerts", tmp_path)
    unit = (tmp_path / "alerts.service").read_text()
    docker = (tmp_path / "Dockerfile").read_text()

    assert f"ExecStart={sys.executable} {tmp_path}/alerts.py run\n" in unit
    assert 'ENTRYPOINT ["python", "/bot/alerts.py"]\nCMD ["run"]' in docker
    assert "USER bot" in docker
    assert "EXPOSE" not in docker  # it is reached through Tor alone


@pytest.mark.parametrize(
    "name", ["", "Alerts", "1st", "../x", "a-b", "json", "a" * 41, "a b", "a\n"]
)
def test_a_name_that_makes_no_module_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        make_project(name, tmp_path / "bot")
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_changed(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        make_project("alerts", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Dockerfile"]
    assert (tmp_path / "Dockerfile").read_text() == "mine"
