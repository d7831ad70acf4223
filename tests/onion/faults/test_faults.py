"""Own processes and a real Tor that fails: nothing lost, repeated, reordered.

The small versions; `python benchmarks/tor_faults.py` runs the full ones.
"""

from pathlib import Path

import pytest
from tor_arena import TorArena
from tor_runs import RUNS

from xmpp_onion.testing import TorNetwork

pytestmark = pytest.mark.onion

_CLEAN = {
    "lost": [],
    "repeated": [],
    "reordered": [],
    "forged": [],
    "hangs": 0,
    "crashes": [],
    "status": 0,
}
NEVER = float("inf")


async def run(name: str, folder: Path, network: TorNetwork) -> dict[str, object]:
    """Run the small version of a run; it must be clean, and all must come back."""
    entry = RUNS[name]
    async with TorArena(folder, network, alice=entry.alice, haste=entry.haste) as arena:
        figures = await entry.run(arena, entry.small)
    assert {key: figures[key] for key in _CLEAN} == _CLEAN
    back = figures["back"]
    assert isinstance(back, list)
    assert back
    assert NEVER not in back
    return figures


async def test_a_tor_that_is_restarted_loses_and_repeats_nothing(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    await run("R4", tmp_path, tor_network)


async def test_circuits_that_close_lose_and_repeat_nothing(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    await run("R5", tmp_path, tor_network)


async def test_a_server_may_move_with_its_key(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    await run("R6", tmp_path, tor_network)


async def test_a_tor_that_hangs_is_noticed_and_waited_for_in_peace(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    figures = await run("R19", tmp_path, tor_network)

    assert NEVER not in figures["noticed"]
    assert figures["attempts"] < 10


async def test_a_connection_that_falls_silent_is_noticed(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    figures = await run("R20", tmp_path, tor_network)

    assert NEVER not in figures["noticed"]


async def test_a_slow_way_is_borne(tor_network: TorNetwork, tmp_path: Path) -> None:
    figures = await run("R26", tmp_path, tor_network)

    assert figures["attempts"] == 0
