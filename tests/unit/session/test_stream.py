"""A session that finds no server, without one."""

import asyncio
import logging

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.session import Session, Timing
from xmpp_onion.testing.loopback import LoopbackDialer

ALICE = JID(f"alice@{OnionAddress.from_public_key(bytes(32))}")
QUICK = Timing(first_retry=0.01, longest_retry=0.02)


async def test_why_there_is_no_connection_is_said_in_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    tor = LoopbackDialer(1, refusing=True)

    async with Session(ALICE, "pw", tor=tor, certificate="", timing=QUICK):
        async with asyncio.timeout(60):
            while len(tor.dialed) < 2:  # noqa: ASYNC110 - nothing tells of a dial
                await asyncio.sleep(0.01)

    said = caplog.messages[0]
    assert "nobody listens there" in said
    assert "Error" not in said
    assert "next attempt in" in said
