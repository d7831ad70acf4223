"""The shells themselves judge what we print for them: zsh and fish complete with it.

Of bash the same is asked in tests/unit/cli/test_completion.py, for it is everywhere.
"""

import asyncio
import os
import pty
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion import JID, Account, OnionAddress, Trust
from xmpp_onion.cli.completion import source
from xmpp_onion.store import ContactRow, Contacts, Database, RoomRow, Rooms

PATIENCE = 60
ONION = OnionAddress.from_public_key(bytes(32))
CAROL = f"carol@{ONION}"
FRIENDS = f"friends@muc.{ONION}"
DANGEROUS = f"$(touch${{IFS}}pwned)@{ONION}"
LINES = [
    ("xmpp-onion ver", ["version"]),
    ("xmpp-onion trust ve", ["verify"]),
    ("xmpp-onion --profile default trust ve", ["verify"]),
    ("xmpp-onion send --wait re", ["receipt"]),
    ("xmpp-onion contact remove ", [CAROL]),
    ("xmpp-onion contact remove car", [CAROL]),
    ("xmpp-onion room leave ", [FRIENDS]),
    (f"xmpp-onion send {CAROL[:12]}", [CAROL]),
    ("xmpp-onion account add car", []),
]


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A user with the program, and an account that knows somebody."""
    program = tmp_path / "bin" / "xmpp-onion"
    program.parent.mkdir()
    python = shlex.quote(sys.executable)
    program.write_text(f'#!/bin/sh\nexec {python} -m xmpp_onion "$@"\n')
    program.chmod(0o755)
    data = tmp_path / "data"
    account = Account(
        profile="default",
        folder=Account.locate("default", data),
        jid=JID(f"alice@{ONION}"),
        password="x",
        trust=Trust.BTBV,
    )
    account.save()
    async with (
        Database.open(account.store_path) as database,
        database.transaction(),
    ):
        await Contacts(database).put(
            ContactRow(jid, "both", ask=False) for jid in (CAROL, DANGEROUS)
        )
        await Rooms(database).put(RoomRow(FRIENDS, "alice"))
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        "TERM": "dumb",
        "XMPP_ONION_DATA_DIR": str(home / "data"),
    }


@pytest.mark.parametrize(("line", "offered"), LINES)
def test_fish_offers_what_could_be_typed_next(
    line: str, offered: list[str], home: Path
) -> None:
    place = home / ".config" / "fish" / "completions" / "xmpp-onion.fish"
    place.parent.mkdir(parents=True)
    place.write_text(source("fish"))

    done = subprocess.run(
        [shutil.which("fish") or "fish", "-c", f"complete -C {shlex.quote(line)}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env=environment(home),
        timeout=PATIENCE,
    )

    found = [each.partition("\t")[0] for each in done.stdout.splitlines()]
    # Where we know nothing, fish offers files by itself.
    assert [each for each in found if (home / each).exists() is False] == offered
    assert done.stderr == ""
    assert not (home / "pwned").exists()


class Zsh:
    """A zsh in a terminal, whose line can be looked at."""

    # A key shows the line; keys are read in their order, so it is shown when what was
    # asked for before is done.
    SETUP = (
        "PS1='READY> '; autoload -Uz compinit; compinit -D -u; {script}\n"
        "show() {{ print -r -- \"LINE=[$BUFFER]\" }}; zle -N show; bindkey '^Xl' show\n"
    )

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._shown = ""

    @classmethod
    @asynccontextmanager
    async def start(cls, home: Path) -> AsyncIterator["Zsh"]:
        """Start it as a person's, with our script in its settings."""
        (home / ".zshrc").write_text(cls.SETUP.format(script=source("zsh")))
        ours, its = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *("zsh", "-d", "-i"),
            stdin=its, stdout=its, stderr=its,
            cwd=home, env=environment(home), start_new_session=True,
        )  # fmt: skip
        os.close(its)
        try:
            yield cls(ours)
        finally:
            process.kill()
            await process.wait()
            os.close(ours)

    async def until(self, text: str) -> str:
        """Wait until something is shown; return what was shown before."""
        async with asyncio.timeout(PATIENCE):
            while text not in self._shown:
                self._shown += await self._read()
        before, _, self._shown = self._shown.partition(text)
        return before

    async def _read(self) -> str:
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._terminal, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(self._terminal)
        return os.read(self._terminal, 65536).decode(errors="replace")

    async def completed(self, line: str) -> str:
        """Type a line and the key that completes; return what the line is then."""
        await self.until("READY> ")
        os.write(self._terminal, f"{line}\t\x18l".encode())
        await self.until("LINE=[")
        return await self.until("]")


@pytest.mark.parametrize(("line", "offered"), LINES)
async def test_zsh_completes_what_could_be_typed_next(
    line: str, offered: list[str], home: Path
) -> None:
    async with Zsh.start(home) as zsh:
        found = await zsh.completed(line)

    begun = line[: line.rindex(" ") + 1]
    assert found.rstrip() == (begun + offered[0] if offered else line)
    assert not (home / "pwned").exists()


async def test_no_shell_makes_more_than_a_word_of_an_address(home: Path) -> None:
    # What could be dangerous is the second contact that there is.
    async with Zsh.start(home) as zsh:
        assert await zsh.completed("xmpp-onion contact remove '$") == (
            "xmpp-onion contact remove '$"
        )
    assert not (home / "pwned").exists()
