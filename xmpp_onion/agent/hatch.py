"""What other users of this machine may ask the holder for: with a token, a little.

For a monitor that runs as somebody else: it has no account and no key, and can have a
text sent to those whom its token names.
"""

import grp
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from xmpp_onion.account import parse_addressee
from xmpp_onion.agent.tokens import find
from xmpp_onion.chat import Line
from xmpp_onion.errors import StorePermissionError, TokenRefusedError
from xmpp_onion.store import Tokens

__all__ = ["Share", "admit"]

# All else of a request is left out: no files of ours, no changes of what was said.
_FIELDS: Final = ("text", "wait", "timeout", "expires")


@dataclass(frozen=True, slots=True)
class Share:
    """A socket that others may reach.

    Attributes:
        path: Where it is.
        group: The group id of those who may.
    """

    path: Path
    group: int

    @classmethod
    def at(cls, path: Path, group: str) -> Self:
        """Check that nobody else can put a socket in the place of ours.

        Raises:
            StorePermissionError: Others can write into the folder, or there is none;
                or there is no such group.
        """
        folder = path.absolute().parent
        try:
            status = folder.stat()
        except OSError as error:
            raise _refused(path, error.strerror or "", f"mkdir {folder}") from None
        if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
            raise _refused(path, "others can write into its folder",
                           f"chmod go-w {folder}")  # fmt: skip
        if path.exists() and not path.is_socket():
            raise _refused(path, "something else has its name", "Choose another name.")
        try:
            return cls(path.absolute(), grp.getgrnam(group).gr_gid)
        except KeyError:
            raise _refused(path, f"there is no group {group!a}",
                           "See which: getent group") from None  # fmt: skip


async def admit(tokens: Tokens, request: Line) -> Line:
    """Return what may be done of what somebody asks for with a token.

    Raises:
        TokenRefusedError: The token is not known, or not good for that.
        AddressError: It is for no person.
    """
    token = await find(tokens, str(request.get("token")))
    if token is None:
        raise TokenRefusedError(
            "nothing was done",
            why="the token is not known here, or was taken back",
            fix="Have one made: xmpp-onion agent token add NAME --to JID",
        )
    to = request.get("to")
    people = [parse_addressee(str(one)) for one in to] if isinstance(to, list) else []
    beyond = sorted(set(people) - set(token.recipients))
    if request.get("do") != token.may or beyond:
        raise TokenRefusedError(
            "nothing was done",
            why=f"the token is not for {', '.join(beyond)}" if beyond
            else f"the token may {token.may}, and nothing else",
            fix="Have another one made: xmpp-onion agent token add NAME --to JID",
        )  # fmt: skip
    asked: Line = {"do": token.may, "to": list(people), "text": ""}
    return asked | {name: request[name] for name in _FIELDS if name in request}


def _refused(path: Path, why: str, fix: str) -> StorePermissionError:
    return StorePermissionError(f"no socket is shared at {path}", why=why, fix=fix)
