"""The tutorial for a server of one's own, typed as it stands."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import World

pytestmark = pytest.mark.onion

PAGE = Path(__file__).parents[3] / "docs" / "tutorial" / "a-server-for-friends.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Those until the first message is read: what a newcomer has to type.
COMMANDS_TO_A_MESSAGE = 7


def test_the_tutorial_leads_from_an_empty_folder_to_a_message(
    world: "World", tmp_path: Path
) -> None:
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    start, people, friend, write, later = (block.splitlines() for block in blocks)
    at_server = {
        "XMPP_ONION_SOCKS": world.network.service_socks,
        "XMPP_ONION_CONTROL": world.network.service_control,
    }
    alice, bob = ({"XMPP_ONION_DATA_DIR": str(tmp_path / n)} for n in ("alice", "bob"))
    known = {"~": str(tmp_path), "xmpp:…": "", "….onion": ""}

    def words(line: str) -> list[str]:
        for sign, meaning in known.items():
            line = line.replace(sign, meaning)
        program, *arguments = shlex.split(line)
        assert program == "xmpp-onion"
        return arguments

    def type_in(line: str, environment: dict[str, str]) -> str:
        done = world.run(*words(line), **environment)
        assert done.code == 0, f"{line}: {done.err}"
        return done.out

    assert sum(map(len, (start, people, friend, write))) == COMMANDS_TO_A_MESSAGE
    try:
        told = type_in(start[0], at_server)
        known["….onion"] = told.split()[0]
        known["xmpp:…"] = type_in(people[0], at_server).strip()
        type_in(people[1], alice)
        known["xmpp:…"] = type_in(people[2], at_server).strip()
        type_in(friend[0], bob)
        with world.runs(*words(friend[1]), **bob) as listening:
            assert listening.text().startswith("Ready")
            type_in(write[0], alice)
            heard = listening.text()
        status = type_in(later[0], at_server)
    finally:
        end = world.run(*words(later[1]))

    assert heard.endswith("hello\n")
    assert f"alice@{known['….onion']}" in heard
    assert status.startswith(f"{known['….onion']}\nReachable through Tor")
    assert end.code == 0
