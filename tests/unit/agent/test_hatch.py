"""What somebody with a token can have done, and where a socket may be shared."""

import grp
import os
from pathlib import Path

import pytest

from xmpp_onion.agent.hatch import Share, admit
from xmpp_onion.agent.tokens import _digest
from xmpp_onion.chat import Line
from xmpp_onion.errors import (
    AddressError,
    StorePermissionError,
    TokenRefusedError,
)
from xmpp_onion.store import Database, TokenRow, Tokens

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
OPS, EVE = f"ops@{ONION}", f"eve@{ONION}"
TOKEN = "xmpp-onion-canary"
GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
async def tokens(tmp_path: Path):  # noqa: ANN201 - a generator of tokens
    async with Database.open(tmp_path / "store.sqlite3") as database:
        kept = Tokens(database)
        await kept.add(TokenRow("ops", _digest(TOKEN), "send", (OPS,), ""))
        yield kept


async def test_a_text_to_who_is_named_is_let_through(tokens: Tokens) -> None:
    asked: Line = {"do": "send", "to": [OPS.upper(), OPS], "text": "disk full",
                   "wait": "ack", "timeout": 5, "token": TOKEN}  # fmt: skip

    assert await admit(tokens, asked) == {
        "do": "send", "to": [OPS, OPS], "text": "disk full", "wait": "ack",
        "timeout": 5,
    }  # fmt: skip


async def test_nothing_but_a_text_is_let_through(tokens: Tokens) -> None:
    asked: Line = {"do": "send", "to": [OPS], "text": "x", "token": TOKEN,
                   "correct": "id", "path": "/etc/shadow", "mentions": [EVE],
                   "queue": True}  # fmt: skip

    assert await admit(tokens, asked) == {"do": "send", "to": [OPS], "text": "x"}


@pytest.mark.parametrize(
    "asked",
    [
        {"do": "send", "to": [OPS], "text": "x"},
        {"do": "send", "to": [OPS], "text": "x", "token": None},
        {"do": "send", "to": [OPS], "text": "x", "token": TOKEN + "x"},
        {"do": "send", "to": [OPS], "text": "x", "token": [TOKEN]},
        {"do": "send", "to": [EVE], "text": "x", "token": TOKEN},
        {"do": "send", "to": [OPS, EVE], "text": "x", "token": TOKEN},
        {"do": "send-file", "to": [OPS], "path": "/etc/shadow", "token": TOKEN},
        {"do": "stop", "token": TOKEN},
        {"do": "tokens", "token": TOKEN},
        {"token": TOKEN},
    ],
    ids=["none", "null", "longer", "list", "other", "both", "file", "stop", "tokens",
         "nothing"],
)  # fmt: skip
async def test_what_the_token_is_not_for_is_refused(
    tokens: Tokens, asked: Line
) -> None:
    with pytest.raises(TokenRefusedError) as refused:
        await admit(tokens, asked)

    assert refused.value.exit_code == 6
    assert TOKEN not in str(refused.value)


async def test_an_address_that_is_none_is_refused(tokens: Tokens) -> None:
    with pytest.raises(AddressError):
        await admit(tokens, {"do": "send", "to": ["ops"], "text": "", "token": TOKEN})


def test_a_socket_is_shared_where_nobody_else_can_put_one(tmp_path: Path) -> None:
    assert Share.at(tmp_path / "sock", GROUP) == Share(tmp_path / "sock", os.getegid())


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
def test_a_folder_that_others_can_write_to_is_refused(
    tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StorePermissionError) as refused:
        Share.at(tmp_path / "sock", GROUP)
    assert refused.value.fix == f"chmod go-w {tmp_path}"


def test_what_cannot_be_shared_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, group, why in [
        (tmp_path / "file", GROUP, "something else has its name"),
        (tmp_path / "no" / "sock", GROUP, "No such file"),
        (tmp_path / "sock", "no-such-group", "there is no group"),
    ]:
        with pytest.raises(StorePermissionError) as refused:
            Share.at(path, group)
        assert why in refused.value.why
