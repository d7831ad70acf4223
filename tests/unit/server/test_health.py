"""How a server is, where none runs; the rest is in tests/onion."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server import Health, Load, State, initialise, note_state, read_health
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import kept


async def test_a_server_that_nobody_runs_is_down(tmp_path: Path) -> None:
    initialise(tmp_path)
    note_state(tmp_path, State.UP)  # what a keeper left that was killed

    assert await read_health(tmp_path) == Health(State.DOWN)


async def test_a_folder_without_a_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="there is no server"):
        await read_health(tmp_path)


@pytest.mark.parametrize(
    ("noted", "state"),
    [
        (State.STARTING, State.STARTING),
        (State.MENDING, State.MENDING),
        (State.UP, State.MENDING),
        (State.UNREACHABLE, State.MENDING),
    ],
)
async def test_a_server_whose_prosody_is_silent_is_not_up(
    tmp_path: Path, noted: State, state: State
) -> None:
    initialise(tmp_path)
    async with kept(Folder(tmp_path, None)):
        note_state(tmp_path, noted)

        assert (await read_health(tmp_path)).state is state


@pytest.mark.parametrize("told", [True, False, None])
async def test_whether_limits_for_circuits_hold_is_noted(
    tmp_path: Path, *, told: bool | None
) -> None:
    initialise(tmp_path)
    async with kept(Folder(tmp_path, None)):
        note_state(tmp_path, State.MENDING, tells_circuits=told)

        health = await read_health(tmp_path)

    assert (health.state, health.tells_circuits) == (State.MENDING, told)


async def test_a_keeper_that_said_nothing_yet_starts(tmp_path: Path) -> None:
    initialise(tmp_path)
    async with kept(Folder(tmp_path, None)):
        assert (await read_health(tmp_path)).state is State.STARTING


def test_the_line_of_a_program_has_every_number() -> None:
    load = Load(3, 2, 1, "13.0.1", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    assert Health(State.UP, load, tells_circuits=True).as_line() == {
        "event": "status", "state": "up", "sessions": 3, "servers": 2, "queue": 1,
        "version": "13.0.1", "since": "2026-01-02T03:04:05Z",
        "circuits": True,
    }  # fmt: skip
    assert Health(State.UP, replace(load, since=None)).as_line()["since"] is None
