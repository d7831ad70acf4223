"""The doctor, with everything in order and with a Tor that is stuck."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World


pytestmark = pytest.mark.onion


def test_all_is_well(alice: "Person") -> None:
    done = alice.run("doctor", "--json")

    assert done.code == 0, done.out
    assert {line["event"] for line in done.lines} == {"check"}
    assert [line["name"] for line in done.lines] == [
        "tor program", "prosody program", "files", "space", "account",
        "store", "tor", "clock",
        "server", "login", "leaks", "keys",
    ]  # fmt: skip
    assert all(line["ok"] for line in done.lines)


def test_an_account_in_use_is_well_too(alice: "Person") -> None:
    with alice.runs("listen", "--json") as listen:
        listen.line()
        done = alice.run("doctor", "--offline")

    assert done.code == 0, done.out
    assert "it answers" in done.out


def test_a_tor_that_is_stuck_exits_with_3(world: "World") -> None:
    assert world.stuck is not None
    done = world.stuck.wait()

    (line,) = done.lines
    assert (done.code, line["code"]) == (3, 3)
    assert "does not get into its network" in str(line["what"])
    assert "stuck at" in str(line["why"])
    assert line["fix"]
