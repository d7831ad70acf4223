"""What an answer of a server may say, and what is made of one that may not."""

import contextlib
import ssl
from collections.abc import Iterator
from typing import Final

import h11

from xmpp_onion.errors import TransferError

__all__ = [
    "GONE",
    "broken",
    "check_coding",
    "length_of",
    "range_of",
    "refused",
    "stays",
    "translated",
]

GONE: Final = frozenset({404, 410})
"""What a server answers where a file is not, or not any more."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what h11 and the system raise into errors of ours."""
    try:
        yield
    except h11.ProtocolError as error:
        raise broken("it breaks the rules of HTTP") from error
    except TimeoutError as error:
        raise broken("it was silent for too long, or far too slow") from error
    except ssl.SSLEOFError as error:
        raise broken("the circuit broke") from error
    except ssl.SSLError as error:
        raise broken("it breaks the rules of TLS", can_retry=False) from error
    except OSError as error:
        raise broken("the circuit broke") from error


def stays(answer: h11.Response) -> bool:
    """Tell whether a server keeps the connection for what it is asked next."""
    named = [(name, value.lower()) for name, value in answer.headers]
    is_last = any(name == b"connection" and b"close" in value for name, value in named)
    return answer.http_version >= b"1.1" and not is_last


def length_of(answer: h11.Response) -> int:
    """Return the length of a body that is sent as it is stored.

    Raises:
        TransferError: It is compressed, in a transfer coding, or of unknown length.
    """
    named = check_coding(answer)
    length = named.get("content-length")
    if "transfer-encoding" in named or length is None:
        raise broken("it does not say how long the file is")
    return int(length)  # h11 has seen that it is a number


def check_coding(answer: h11.Response) -> dict[str, bytes]:
    """Return the headers of an answer that is not compressed.

    Raises:
        TransferError: It is.
    """
    named = {name.decode("ascii"): value for name, value in answer.headers}
    if named.get("content-encoding", b"identity").lower() != b"identity":
        raise broken("it compressed the file, which nobody asked for")
    return named


def range_of(answer: h11.Response, start: int, size: int) -> int:
    """Return the length of the whole; the part has to be the one asked for.

    Prosody 0.12 names the length where the last byte's number belongs.
    """
    named = {name.decode("ascii"): value for name, value in answer.headers}
    total = start + size
    said = named.get("content-range", b"").decode("ascii", "replace")
    if said not in {f"bytes {start}-{last}/{total}" for last in (total - 1, total)}:
        raise broken("it sent another part of the file than it was asked for")
    return total


def broken(why: str, *, can_retry: bool = True) -> TransferError:
    """Return the error of a transfer that did not get to its end."""
    return TransferError(
        "the transfer of a file broke off",
        why=why,
        fix="Try again: what came so far is kept." if can_retry else "",
        can_retry=can_retry,
    )


def refused(verb: str, status: int) -> TransferError:
    """Return the error of a server that does not want to, by the status it answered."""
    return TransferError(
        f"the server does not {verb} the file",
        why=_WHY.get(status, f"it answered {status}"),
        status=status,
        fix="Files are kept for a few days. Ask its sender to send it again."
        if status in GONE
        else "",
        can_retry=status in {408, 416, 429, 500, 502, 503, 504},
    )


_WHY: Final = {
    401: "it does not believe the permission that it gave (401)",
    403: "it is forbidden (403)",
    404: "it has no such file, or no longer (404)",
    410: "it has the file no longer (410)",
    413: "the file is too large (413)",
    **{
        status: f"it sends us elsewhere ({status}), and nobody follows"
        for status in (300, 301, 302, 303, 304, 305, 307, 308)
    },
}
