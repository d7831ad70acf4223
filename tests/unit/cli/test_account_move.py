"""``account move``, where the server has said already that it moved."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import JID, Account, OnionAddress
from xmpp_onion.errors import InvalidMoveError, MovedError
from xmpp_onion.moves import Move
from xmpp_onion.moving import follow, known_move, noted
from xmpp_onion.store import Database, Inbox, Keys
from xmpp_onion.transport import create_key, read_address, sign

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def name(key: Path) -> OnionAddress:
    return read_address(key) if key.exists() else create_key(key)


def move(place: Path, old: str, new: str, *, minutes: int = 0) -> Move:
    files = {name(place / each): place / each for each in (old, new)}
    first, second = files
    return Move.write(
        first,
        second,
        at=datetime.now(UTC) + timedelta(minutes=minutes),
        certificate="0" * 64,
        sign=lambda who, data: sign(files[who], data),
    )


async def tell(account: Account, moved: Move) -> None:
    """Have the server say it, as at a login."""
    error = MovedError("moved", old=moved.old, new=moved.new, document=moved.document)
    opened = Database.open(account.store_path, witness=account.state_folder)
    async with opened as database:
        with pytest.raises(MovedError):
            async with noted(database, account.jid, asyncio.Event()):
                raise error


@pytest.fixture
def bob(account: Account, tmp_path: Path) -> Account:
    own = JID(f"bob@{name(tmp_path / 'a')}")
    friend = JID(f"alice@{own.domain}")
    made = replace(
        account, jid=own, certificate="1" * 64, pins={friend: frozenset({"2" * 64})}
    )
    made.save()
    return made


def test_nothing_is_followed_without_a_word(
    command: "Command", bob: Account, tmp_path: Path
) -> None:
    asyncio.run(tell(bob, move(tmp_path, "a", "b")))

    done = command("account", "move", "--json")

    assert done.code == 2
    assert "--yes" in done.out
    assert Account.load("default", tmp_path / "data") == bob


def test_a_move_is_shown_and_followed_on_a_word(
    command: "Command", bob: Account, tmp_path: Path
) -> None:
    moved = move(tmp_path, "a", "b")
    asyncio.run(tell(bob, moved))

    done = command("account", "move", "--yes", "--json")

    assert done.code == 0
    assert done.lines == [
        {
            "v": 1,
            "event": "followed",
            "jid": f"bob@{moved.new}",
            "old": moved.old,
            "new": moved.new,
        }
    ]
    for shown in (moved.old, moved.new, f"{moved.at:%Y-%m-%d %H:%M}"):
        assert shown in done.err
    now = Account.load("default", tmp_path / "data")
    assert now.jid == f"bob@{moved.new}"
    assert now.certificate == moved.certificate
    assert set(now.pins) == {f"alice@{moved.new}"}
    assert (now.former, now.moved_at) == ((moved.old,), moved.at)
    assert (now.password, now.device) == (bob.password, bob.device)


def test_where_the_server_never_said_so_it_is_asked(
    command: "Command", bob: Account, tmp_path: Path
) -> None:
    done = command("account", "move", "--yes", "--json")

    assert (done.code, done.lines[-1]["code"]) == (3, 3)  # there is no Tor here
    assert Account.load("default", tmp_path / "data") == bob


async def test_an_earlier_move_is_not_followed_after_a_later_one(
    bob: Account, tmp_path: Path
) -> None:
    there = await follow(bob, move(tmp_path, "a", "b"))

    for stale in (
        move(tmp_path, "b", "c", minutes=-1),
        move(tmp_path, "b", "a", minutes=1),
        move(tmp_path, "c", "d", minutes=1),
    ):
        with pytest.raises(InvalidMoveError, match="is not followed"):
            await follow(there, stale)
    assert Account.load("default", tmp_path / "data") == there


async def test_what_is_told_once_is_told_once(bob: Account, tmp_path: Path) -> None:
    moved = move(tmp_path, "a", "b")
    for _ in range(2):
        await tell(bob, moved)

    async with Database.open(bob.store_path) as database:
        assert len(await Inbox(database).pending()) == 1
    assert await known_move(bob) == moved


async def test_who_is_killed_in_between_begins_again(
    bob: Account, tmp_path: Path
) -> None:
    moved = move(tmp_path, "a", "b")
    await tell(bob, moved)
    async with Database.open(bob.store_path) as database, database.transaction():
        await Keys(database).store(f"/trust/alice@{moved.old}", "1")

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await follow(bob, moved, between=die)
    again = Account.load("default", tmp_path / "data")
    assert again == bob
    assert await known_move(again) == moved
    now = await follow(again, moved)

    assert now.jid == f"bob@{moved.new}"
    assert await known_move(now) is None
    async with Database.open(bob.store_path) as database:
        assert await Keys(database).load(f"/trust/alice@{moved.new}") == "1"
