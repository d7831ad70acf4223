"""The file of a bot as a program: ``bot.cli()``."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import click
import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.cli.own import make_program
from xmpp_onion.e2ee import Trust

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[3]
BOT = """
from xmpp_onion import Bot, Message, Trust

bot = Bot("alerts", trust=Trust.PINNED)


@bot.message
async def echo(msg: Message) -> str:
    return msg.text


if __name__ == "__main__":
    bot.cli()
"""


@pytest.fixture
def own(tmp_path: Path) -> Run:
    """Run the file of a bot."""
    file = tmp_path / "alerts.py"
    file.write_text(BOT)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(file), *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONPATH": str(ROOT),
                "XMPP_ONION_DATA_DIR": str(tmp_path / "data"),
            },
            text=True,
            capture_output=True,
            check=False,
            timeout=300,
        )

    return run


def test_its_help_names_its_commands(own: Run) -> None:
    done = own("--help")

    assert done.returncode == 0
    assert "Usage: alerts.py" in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2]  # cut short
    for name in (
        "init",
        "run",
        "invite",
        "trust",
        "devices",
        "account",
        "doctor",
        "export",
        "import",
    ):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["invite"],
        ["trust", "list"],
        ["run", "--log-format", "json"],
        ["export", "F"],
    ],
)
def test_its_commands_are_for_its_own_profile(own: Run, words: list[str]) -> None:
    done = own(*words)

    assert done.returncode == 7
    assert "the profile 'alerts' has no account" in done.stderr


def test_what_is_mistyped_is_a_usage_error(own: Run) -> None:
    done = own("runn")

    assert done.returncode == 2
    assert "alerts.py --help" in done.stderr


def test_its_account_believes_whom_the_bot_believes() -> None:
    program = make_program(Bot("alerts", trust=Trust.TOFU))
    with program.make_context("alerts", ["init"], resilient_parsing=True) as context:
        init = program.get_command(context, "init")
        assert init is not None
        inner = click.Context(init, parent=context, info_name="init")
        assert inner.lookup_default("trust") == "tofu"


@pytest.mark.usefixtures("used")
def test_who_takes_it_up_elsewhere_is_told_to_run_it(own: Run, tmp_path: Path) -> None:
    file, words = tmp_path / "alerts.account", tmp_path / "words"
    words.write_text("correct horse\n")
    words.chmod(0o600)
    own(
        "--profile", "default", "export", str(file), "--new-passphrase-file", str(words)
    )
    done = own("import", str(file), "--passphrase-file", str(words))

    assert done.stdout.endswith("Log in: alerts.py run\n"), done.stderr
    assert "xmpp-onion --profile alerts devices remove" in done.stderr
