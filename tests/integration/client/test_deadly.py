"""A message that kills whoever reads it is left out in the end (T11)."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

import xmpp_onion
from xmpp_onion import Account, Client
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

ROOT = Path(xmpp_onion.__file__).parents[1]

pytestmark = pytest.mark.prosody


async def test_a_message_that_kills_its_reader_is_told_after_four_deaths(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob_account = await enrol("bob")
    async with Client(bob_account, tor=wire):
        pass
    async with Client(await enrol("alice"), tor=wire) as alice:
        for text in ("before", "deadly", "after"):
            await alice.send(bob_account.jid, text)

        statuses, said = [], ""
        while not statuses or (statuses[-1] and len(statuses) < 8):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("mortal.py")),
                bob_account.profile,
                str(bob_account.folder.parent),
                str(wire.port),
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            async with asyncio.timeout(60):
                output, _ = await process.communicate()
            statuses.append(process.returncode)
            said += output.decode()

    assert statuses == [-signal.SIGKILL] * 4 + [0]
    assert "was ended by it" in said
    assert "deadly" not in said
    assert said.splitlines()[-1] == "after"
