"""Own processes, real Prosody, SIGKILL: nothing lost, repeated, reordered.

The small versions; `python benchmarks/durability.py` runs the full ones.
"""

from pathlib import Path

import pytest
from arena import Arena
from every_run import RUNS

pytestmark = pytest.mark.prosody

_CLEAN = {
    "lost": [],
    "repeated": [],
    "reordered": [],
    "forged": [],
    "hangs": 0,
    "crashes": [],
    "status": 0,
}


async def run(name: str, folder: Path, at_least: int) -> dict[str, object]:
    """Run the small version of a run; it must be clean, and must have had traffic."""
    runs = RUNS[name]
    async with Arena(folder) as arena:
        figures = await runs.run(arena, runs.small)
    assert {key: figures[key] for key in _CLEAN} == _CLEAN
    accepted = figures["accepted"]
    assert isinstance(accepted, int)
    assert accepted >= at_least
    return figures


async def test_a_sender_that_is_killed_anywhere_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    figures = await run("R1", tmp_path, 25)

    assert figures["kills"] == RUNS["R1"].small


async def test_a_receiver_that_is_killed_anywhere_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    await run("R2", tmp_path, 25)


async def test_a_first_message_survives_a_cut_at_each_call_that_it_needs(
    tmp_path: Path,
) -> None:
    await run("R3", tmp_path, 10)


async def test_cuts_every_two_seconds_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await run("R5", tmp_path, 20)


async def test_restarts_of_the_server_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await run("R7r", tmp_path, 10)


async def test_kills_of_the_server_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await run("R7", tmp_path, 10)


@pytest.mark.parametrize("name", ["R8", "R8k"], ids=["stopped", "killed"])
async def test_100_messages_wait_for_who_is_away(tmp_path: Path, name: str) -> None:
    await run(name, tmp_path, 100)


async def test_a_signal_ends_a_client_in_order(tmp_path: Path) -> None:
    figures = await run("R28", tmp_path, 30)

    assert figures["unclean"] == 0


async def test_a_clock_that_is_wrong_or_jumps_changes_nothing(tmp_path: Path) -> None:
    # Of thirty texts the last one of each side may be cut off before it is confirmed.
    figures = await run("R13", tmp_path, 28 * RUNS["R13"].small)

    rotations = figures["rotations"]
    assert isinstance(rotations, dict)
    assert {name: n for name, n in rotations.items() if n > 1} == {}


async def test_1000_messages_of_five_come_though_their_reader_is_killed(
    tmp_path: Path,
) -> None:
    figures = await run("R15", tmp_path, 1000)

    assert figures["kills"] == 3
    memory = figures["memory"]
    assert isinstance(memory, int)
    assert memory <= 60_000_000


async def test_messages_that_nobody_can_read_are_told_once_and_stop_nothing(
    tmp_path: Path,
) -> None:
    figures = await run("R25", tmp_path, RUNS["R25"].small)

    assert (figures["poisoned"], figures["told"]) == (5, 5)


async def test_a_full_disk_is_told_and_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    figures = await run("R9", tmp_path, 5)

    assert figures["refused"] or figures["told"]
    assert figures["fixes"] in ([], ["Make room"])
    assert figures["sound"]


async def test_a_store_that_another_program_locks_is_waited_for(tmp_path: Path) -> None:
    figures = await run("R10", tmp_path, 20)

    assert (figures["refused"], figures["failed"]) == (0, 0)


async def test_a_damaged_store_is_refused_or_keeps_its_identity(tmp_path: Path) -> None:
    figures = await run("R11", tmp_path, 60)

    assert figures["wrong"] == []


async def test_what_was_promised_is_there_after_a_power_loss(tmp_path: Path) -> None:
    figures = await run("R12", tmp_path, 20)

    assert figures["torn"] == []
    assert figures["alarms"] == 0  # what is there is what was there


async def test_an_upgrade_that_is_killed_breaks_nothing(tmp_path: Path) -> None:
    figures = await run("R27", tmp_path, 20)

    assert figures["broken"] == []


async def test_a_bot_that_is_killed_anywhere_does_each_order_once_or_says_so(
    tmp_path: Path,
) -> None:
    figures = await run("R31", tmp_path, 20)

    assert figures["identities"] == 1


async def test_a_bot_that_is_told_to_end_does_what_it_has_begun_first(
    tmp_path: Path,
) -> None:
    figures = await run("R32", tmp_path, 3)  # one for each stop, however quick it is

    assert figures["interrupted"] == 0


async def test_kills_in_a_room_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await run("R29", tmp_path, 20)


@pytest.mark.parametrize("name", ["R21", "R21o"], ids=["limited", "without limits"])
async def test_a_friend_is_heard_and_little_is_kept_while_a_stranger_floods(
    tmp_path: Path, name: str
) -> None:
    figures = await run(name, tmp_path, 10)

    flooded, grown = figures["flooded"], figures["grown"]
    assert isinstance(flooded, int)
    assert isinstance(grown, int)
    assert flooded >= 100  # as many as the server takes, on a busy machine
    assert grown <= 5_000_000
