"""The echo bot, run by the command and as a program of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World


pytestmark = pytest.mark.onion


@pytest.fixture(scope="session")
def echo(world: "World") -> "Person":
    """A bot's account, with alice pinned."""
    person = world.enrol("echo", "--trust", "pinned")
    alice = world.people["alice"]
    assert person.run("trust", "pin", alice.jid, alice.fingerprint).code == 0
    return person


def test_bot_run_answers_pinned_people_alone(
    world: "World", echo: "Person", alice: "Person", carol: "Person", root: Path
) -> None:
    decided = carol.run("trust", "verify", echo.jid, echo.fingerprint)
    with (
        world.runs("bot", "run", str(root / "examples/echo_bot.py"), "--json") as bot,
        alice.runs("listen", "--json") as heard,
    ):
        assert bot.line() == {"v": 1, "event": "ready", "jid": echo.jid}
        assert heard.line()["event"] == "ready"
        stranger = carol.run("send", echo.jid, "-m", "obey me")
        sent = alice.run("send", echo.jid, "-m", "are you there?")
        answers = [heard.line()]
        while answers[-1].get("from") != echo.jid:
            answers.append(heard.line())
        ended = bot.end()

    assert decided.code == stranger.code == sent.code == 0, decided.err
    assert answers[-1]["body"] == "are you there?"
    assert ended.code == 0
    with carol.runs("listen", "--json") as silence:
        assert silence.line()["event"] == "ready"
        assert alice.run("send", carol.jid, "-m", "last", "--json").code == 0
        said = [silence.line()]
        while said[-1].get("body") != "last":
            said.append(silence.line())

    # Whatever else happened, the bot said nothing.
    assert [one for one in said if one.get("from") == echo.jid] == []


def test_an_example_runs_as_a_program(
    world: "World", echo: "Person", alice: "Person", root: Path
) -> None:
    program = (str(root / "examples/echo_bot.py"),)
    with world.runs(program=program) as bot, alice.runs("listen", "--json") as heard:
        assert heard.line()["event"] == "ready"
        sent = alice.run("send", echo.jid, "-m", "and now?")
        answer = heard.line()
        while answer.get("from") != echo.jid:
            answer = heard.line()
        ended = bot.end()

    assert sent.code == 0
    assert answer["body"] == "and now?"
    assert (ended.code, ended.out) == (0, "")
    assert f"echo: ready as {echo.jid}" in ended.err
    assert echo.fingerprint in ended.err


def test_a_program_without_an_account_says_so(
    world: "World", root: Path, tmp_path: Path
) -> None:
    done = world.python(
        str(root / "examples/echo_bot.py"), XMPP_ONION_DATA_DIR=str(tmp_path)
    )

    assert done.code == 7
    assert "account add" in done.err
