"""Invites and accounts: what is refused before the server is asked."""

from datetime import timedelta
from pathlib import Path

import pytest

from xmpp_onion.errors import InvalidJIDError, ServerError
from xmpp_onion.server import add_account, create_invite, initialise


@pytest.mark.parametrize("local", ["a@b", "a/b", "", " ", "a b", 'a"b'])
async def test_a_name_that_is_no_local_part_is_refused(
    tmp_path: Path, local: str
) -> None:
    initialise(tmp_path)

    with pytest.raises(InvalidJIDError):
        await add_account(tmp_path, local, "pw")


async def test_a_whole_address_is_not_taken_for_a_name(tmp_path: Path) -> None:
    onion = initialise(tmp_path)

    with pytest.raises(InvalidJIDError):
        await add_account(tmp_path, f"alice@{onion}/x", "pw")


async def test_an_invite_that_is_over_already_is_refused(tmp_path: Path) -> None:
    initialise(tmp_path)

    with pytest.raises(ServerError, match="expired already"):
        await create_invite(tmp_path, lifetime=timedelta(seconds=0.5))


async def test_an_invite_needs_a_running_server(tmp_path: Path) -> None:
    initialise(tmp_path)

    with pytest.raises(ServerError) as caught:
        await create_invite(tmp_path)

    assert "server up" in caught.value.fix
