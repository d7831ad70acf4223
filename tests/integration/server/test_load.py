"""What a real Prosody says that it has to do."""

from datetime import UTC, datetime, timedelta

import pytest

from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody


async def test_who_is_logged_in_is_counted(prosody: Prosody) -> None:
    alice = await prosody.add_account("alice", "pw")
    before = await prosody.load()

    async with LightMember(alice, "pw", prosody.c2s_port):
        during = await prosody.load()

    assert (before.sessions, before.servers, before.queue) == (0, 0, 0)
    assert during.sessions == 1
    assert during.version == prosody.version
    assert during.since is not None
    assert abs(datetime.now(UTC) - during.since) < timedelta(minutes=10)
