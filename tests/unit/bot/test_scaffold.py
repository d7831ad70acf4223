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
