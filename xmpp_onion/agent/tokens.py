"""Tokens: what another user of this machine may have the holder do.

A token is 32 random bytes, so its SHA-256 tells nobody what it is, and is enough to
know it again. It is good for one thing, to people who were named when it was made.
"""

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.account import Account, parse_addressee
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.errors import TokenError
from xmpp_onion.store import Database, TokenRow, Tokens

__all__ = ["FIELDS", "REQUESTS", "find", "turn_alone"]

# Begins with what says which program's it is: those who search for leaked secrets
# go by that.
_PREFIX: Final = "xmpp-onion-"
_BYTES: Final = 32
_LIMIT: Final = 100
_RECIPIENTS: Final = 50
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SEND: Final = "send"


async def find(tokens: Tokens, text: str) -> TokenRow | None:
    """Return what a token is good for; None if it is none of ours."""
    digest = _digest(text)
    for row in await tokens.all():
        if secrets.compare_digest(row.digest, digest):
            return row
    return None


async def turn_alone(account: Account, request: Line) -> list[Line]:
    """Do what is asked in the store of an account that no process holds.

    Raises:
        StoreError: It cannot be opened or written.
    """
    async with Database.open(
        account.store_path,
        key=account.store_key,
        create=not account.device,
        witness=account.state_folder,
    ) as database:
        return await _turn(Tokens(database), request)


async def _turn(tokens: Tokens, request: Line) -> list[Line]:
    match request["do"]:
        case "add-token":
            return [await _add(tokens, request)]
        case "remove-token":
            return [await _remove(tokens, str(request["name"]))]
        case _:
            return [_line(row) for row in await tokens.all()]


async def _add(tokens: Tokens, request: Line) -> Line:
    name, to = str(request["name"]), request["to"]
    people = [parse_addressee(str(one)) for one in to] if isinstance(to, list) else []
    kept = {row.name for row in await tokens.all()}
    why = ""
    if not _NAME.fullmatch(name):
        why = "its name has other signs than letters, digits, dots and dashes"
    elif name in kept:
        why = f"there is one called {name}"
    elif len(kept) >= _LIMIT:
        why = f"there are {_LIMIT} already"
    elif not 0 < len(people) <= _RECIPIENTS:
        why = f"it is for {len(people)} people, and has to be for 1 to {_RECIPIENTS}"
    if why:
        raise TokenError(
            "no token was made",
            why=why,
            fix="See which there are: xmpp-onion agent token list",
        )
    text = _PREFIX + secrets.token_urlsafe(_BYTES)
    row = TokenRow(
        name=name,
        digest=_digest(text),
        may=_SEND,
        recipients=tuple(people),
        added_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    await tokens.add(row)
    return {**_line(row), "token": text}


async def _remove(tokens: Tokens, name: str) -> Line:
    for row in await tokens.all():
        if row.name == name:
            await tokens.remove(name)
            return {**_line(row), "event": "token-removed"}
    raise TokenError(
        f"there is no token called {name!a}",
        fix="See which there are: xmpp-onion agent token list",
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _line(row: TokenRow) -> Line:
    return {
        "v": 1,
        "event": "token",
        "name": row.name,
        "may": row.may,
        "to": list(row.recipients),
        "since": row.added_at,
    }


async def _do(client: Client, request: Line) -> list[Line]:
    return await _turn(client.tokens, request)


async def _do_with_name(client: Client, request: Line) -> list[Line]:
    return await _turn(client.tokens, request)


async def _do_with_all(client: Client, request: Line) -> list[Line]:
    return await _turn(client.tokens, request)


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "tokens": _do,
    "remove-token": _do_with_name,
    "add-token": _do_with_all,
}
"""What does a request, by the name in its ``do``."""
# What each of them cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {
    _do: frozenset(),
    _do_with_name: frozenset({"name"}),
    _do_with_all: frozenset({"name", "to"}),
}
"""What a request cannot do without, by what does it."""
