"""An OMEMO session as one row: how it was begun, and where its ratchet stands."""

import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import cast

import x3dh
from omemo.session import Initiation

from xmpp_onion.e2ee.ratchet import write_bytes

__all__ = ["Begun", "join", "split"]

# JSON may hold a line break here, and the parts hold none.
_BETWEEN = ",\n"


@dataclass(frozen=True, slots=True)
class Begun:
    """How a session was begun. It never changes, and no other session has the same.

    Attributes:
        initiation: By whom.
        header: The keys that it was begun with.
        signed_pre_key_id: The number of the signed pre-key.
        pre_key_id: The number of the pre-key.
        associated_data: What each of its messages is bound to.
    """

    initiation: Initiation
    header: x3dh.Header
    signed_pre_key_id: int
    pre_key_id: int
    associated_data: bytes = field(repr=False)

    def write(self) -> str:
        """Return it as JSON."""
        header = self.header
        return json.dumps(
            [
                self.initiation.name,
                write_bytes(header.identity_key),
                write_bytes(header.ephemeral_key),
                write_bytes(header.signed_pre_key),
                write_bytes(header.pre_key or b""),
                self.signed_pre_key_id,
                self.pre_key_id,
                write_bytes(self.associated_data),
            ],
            separators=(",", ":"),
        )

    @classmethod
    def read(cls, text: str) -> "Begun":
        """Return what :meth:`write` wrote."""
        values = cast(
            "tuple[str, str, str, str, str, int, int, str]", tuple(json.loads(text))
        )
        name, *keys, signed_pre_key_id, pre_key_id, data = values
        header = x3dh.Header(*map(b64decode, keys))
        return cls(
            Initiation(name), header, signed_pre_key_id, pre_key_id, b64decode(data)
        )


def join(origin: str, ratchet: list[str | int | None], *, confirmed: bool) -> str:
    """Return the text of a row.

    Args:
        origin: What :meth:`Begun.write` returned.
        ratchet: The ratchet's values.
        confirmed: Whether the other side has answered.
    """
    state = json.dumps([int(confirmed), *ratchet], separators=(",", ":"))
    return f"[{origin}{_BETWEEN}{state}]"


def split(text: str) -> tuple[str, bool, list[str | int | None]]:
    """Return what :func:`join` joined."""
    origin, _, state = text[1:-1].partition(_BETWEEN)
    confirmed, *ratchet = cast("list[str | int | None]", json.loads(state))
    return origin, bool(confirmed), ratchet
