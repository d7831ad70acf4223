"""The tutorial for a first bot, typed as it stands."""

import re
import shlex
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Done, Running, World

pytestmark = pytest.mark.onion

PAGE = Path(__file__).parents[3] / "docs" / "tutorial" / "first-encrypted-bot.md"
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = re.compile(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FINGERPRINT = re.compile(r"(?:[0-9a-f]{8} ?){8}")


@dataclass
class Newcomer:
    """Somebody who types what the page says, with what was printed put in place."""

    world: "World"
    folder: Path
    known: dict[str, str] = field(default_factory=dict)

    def words(self, line: str) -> list[str]:
        for sign, meaning in self.known.items():
            line = line.replace(sign, meaning)
        program, *arguments = shlex.split(line)
        if program == "xmpp-onion":
            return ["-m", "xmpp_onion", *arguments]
        assert program == "python"
        return [
            str(self.folder / each) if each.endswith(".py") else each
            for each in arguments
        ]

    def types(self, line: str) -> "Done":
        """Type a command that ends."""
        done = self.world.python(*self.words(line), **self.environment)
        assert done.code == 0, f"{line}: {done.err}{done.out}"
        return done

    @property
    def environment(self) -> dict[str, str]:
        return {
            "XMPP_ONION_DATA_DIR": str(self.folder / "data"),
            "XMPP_ONION_SOCKS": self.world.network.service_socks,
            "XMPP_ONION_CONTROL": self.world.network.service_control,
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }


def heard(listening: "Running") -> str:
    """Return the next thing that is said."""
    return listening.text().rpartition(": ")[2].strip()


def test_the_tutorial_leads_from_an_empty_folder_to_an_answer(
    world: "World", tmp_path: Path
) -> None:
    page = PAGE.read_text("utf-8")
    blocks = [block.splitlines() for block in COMMANDS.findall(page)]
    (start,), accounts, (pin, run), (listen,), (send,), (test,) = blocks
    files = dict(FILES.findall(page))
    assert set(files) == {"echo_bot.py", "test_echo_bot.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    me = Newcomer(world, tmp_path, {"~": str(tmp_path)})
    more = me.environment

    with world.runs(program=me.words(start), **more) as server:
        onion = server.text().split()[0]
        assert onion.endswith(".onion")
        for invite, add in zip(accounts[::2], accounts[1::2], strict=True):
            link = me.types(invite).out.strip()
            added = me.types(re.sub(r"'xmpp:[^']*'", shlex.quote(link), add))
            print_ = FINGERPRINT.search(added.out + added.err)
            assert print_ is not None, added
        me.known |= {"….onion": onion, "YOUR-FINGERPRINT": shlex.quote(print_[0])}
        me.types(pin)
        with world.runs(program=me.words(listen), **more) as listening:
            assert listening.text().startswith("Ready")
            with world.runs(program=me.words(run), **more) as bot:
                me.types(send)
                assert heard(listening) == "are you there?"
                assert bot.end(signal.SIGINT).code == 130
            me.types(send)
            with world.runs(program=me.words(run), **more):
                assert heard(listening) == "are you there?"
        assert "1 passed" in me.types(test).out
