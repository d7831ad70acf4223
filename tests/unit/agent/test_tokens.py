"""Tokens: made once, known by their hash, good for who was named."""

import re
from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.agent.tokens import find, turn_alone
from xmpp_onion.chat import Line
from xmpp_onion.errors import AddressError, TokenError
from xmpp_onion.store import Database, Tokens

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
OPS = f"ops@{ONION}"


@pytest.fixture
def account(tmp_path: Path) -> Account:
    made = Account(
        profile="bot",
        folder=tmp_path / "data" / "bot",
        jid=JID(f"bob@{ONION}"),
        password="canary-of-bob",
    )
    made.save()
    return made


def add(name: str, *to: str) -> Line:
    return {"do": "add-token", "name": name, "to": list(to)}


async def test_a_token_is_told_once_and_not_kept(account: Account) -> None:
    (made,) = await turn_alone(account, add("monitor", OPS))
    (listed,) = await turn_alone(account, {"do": "tokens"})

    text = str(made.pop("token"))
    assert re.fullmatch(r"xmpp-onion-[A-Za-z0-9_-]{43}", text)
    assert listed == made
    assert listed == {
        "v": 1,
        "event": "token",
        "name": "monitor",
        "may": "send",
        "to": [OPS],
        "since": listed["since"],
    }
    for path in account.folder.rglob("*"):
        if path.is_file():
            assert text.encode() not in path.read_bytes()


async def test_a_token_is_known_again_until_it_is_taken_back(account: Account) -> None:
    (made,) = await turn_alone(account, add("monitor", OPS))
    text = str(made["token"])
    async with Database.open(account.store_path) as database:
        found = await find(Tokens(database), text)
        others = [await find(Tokens(database), each) for each in ("", text[:-1], "x")]
    (gone,) = await turn_alone(account, {"do": "remove-token", "name": "monitor"})

    assert found is not None
    assert found.recipients == (OPS,)
    assert others == [None] * 3
    assert gone["event"] == "token-removed"
    async with Database.open(account.store_path) as database:
        assert await find(Tokens(database), text) is None


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (add("a name", OPS), "other signs"),
        (add("../x", OPS), "other signs"),
        (add("monitor"), "for 0 people"),
        (add("monitor", *(f"p{n}@{ONION}" for n in range(51))), "for 51 people"),
        (add("taken", OPS), "there is one called taken"),
    ],
    ids=["space", "dots", "nobody", "everybody", "twice"],
)
async def test_a_token_that_cannot_be_is_not_made(
    account: Account, request_: Line, why: str
) -> None:
    await turn_alone(account, add("taken", OPS))
    with pytest.raises(TokenError) as refused:
        await turn_alone(account, request_)

    assert why in refused.value.why
    assert len(await turn_alone(account, {"do": "tokens"})) == 1


async def test_there_are_no_more_tokens_than_can_be_looked_after(
    account: Account,
) -> None:
    for number in range(100):
        await turn_alone(account, add(f"t{number}", OPS))
    with pytest.raises(TokenError, match="no token was made"):
        await turn_alone(account, add("one-more", OPS))


async def test_a_token_for_nobody_is_an_address_error(account: Account) -> None:
    with pytest.raises(AddressError):
        await turn_alone(account, add("monitor", "ops@example.org"))
    with pytest.raises(TokenError, match="no token called"):
        await turn_alone(account, {"do": "remove-token", "name": "monitor"})
