"""Real Prosody, on loopback, for everybody's integration tests."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from xmpp_onion.server import Prosody


def find_prosody_programs() -> Sequence[str]:
    """Return the Prosodies of this machine: the system's, and 13.0 if named.

    ``scripts/fetch-prosody-13 DIR`` unpacks the latter where the system's is older;
    its path goes into ``XMPP_ONION_PROSODY_13``.
    """
    newer = os.environ.get("XMPP_ONION_PROSODY_13", "")
    return ["prosody", newer] if newer else ["prosody"]


@pytest.fixture(
    params=find_prosody_programs(),
    ids=lambda program: "13" if "/" in program else "system",
    scope="session",
)
def prosody_program(request: pytest.FixtureRequest) -> str:
    """Each Prosody of this machine in turn."""
    program: str = request.param
    return program


@pytest.fixture
async def prosody(prosody_program: str, tmp_path: Path) -> AsyncIterator[Prosody]:
    """A running server with a name of its own and no accounts.

    One for each test: it starts in a fifth of a second, and lives in the test's own
    event loop. pytest's folder is closed to others, which is what the unprivileged
    user has to get along with.
    """
    async with Prosody(tmp_path / "server", program=prosody_program) as running:
        yield running
