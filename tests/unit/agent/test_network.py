"""What is found about Tor: a clock far from what its authorities signed."""

from datetime import UTC, datetime, timedelta

import pytest

from xmpp_onion.agent.network import check_clock
from xmpp_onion.errors import XmppOnionError

SINCE = datetime(2026, 11, 26, tzinfo=UTC)


class Signed:
    """A Tor whose picture of the network holds for three hours."""

    async def clock_bounds(self) -> tuple[datetime, datetime] | None:
        return SINCE, SINCE + timedelta(hours=3)


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (SINCE + timedelta(hours=1), "agrees"),
        (SINCE - timedelta(minutes=50), "agrees"),
        (SINCE + timedelta(hours=26), "agrees"),
        (SINCE - timedelta(hours=2), "slow"),
        (SINCE + timedelta(days=2), "fast"),
    ],
)
async def test_a_clock_far_from_what_tor_signed_is_a_fault(
    now: datetime, word: str
) -> None:
    finding = await check_clock(Signed(), now)

    assert word in str(finding)
    assert isinstance(finding, XmppOnionError) == (word != "agrees")
