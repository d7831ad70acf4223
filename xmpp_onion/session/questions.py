"""Questions before there is a session, and what is taken for their answers."""

import secrets
import xml.etree.ElementTree as ET
from typing import Final
from xml.sax.saxutils import quoteattr

from xmpp_onion.errors import AuthenticationError, SessionError, StreamViolationError
from xmpp_onion.session.wire import Wire

__all__ = [
    "ask",
    "expect",
    "require_answer",
    "sasl_element",
    "stanza_error",
    "unexpected",
    "write_request",
]

_STANZAS: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
# The server cannot check the password just now; it says nothing about ours.
_TEMPORARY: Final = "temporary-auth-failure"


async def ask(wire: Wire, payload: str, *, to: str = "") -> ET.Element:
    """Send a request before there is a session, and return its answer."""
    request_id = write_request(wire, payload, to=to)
    answer = await wire.next_element()
    require_answer(answer, request_id)
    return answer


def write_request(wire: Wire, payload: str, *, to: str = "") -> str:
    """Send a request before there is a session, and return its id."""
    request_id = secrets.token_hex(16)
    address = f" to={quoteattr(to)}" if to else ""
    wire.write(f"<iq type='set' id='{request_id}'{address}>{payload}</iq>")
    return request_id


def require_answer(answer: ET.Element, request_id: str) -> None:
    """Make sure that an element answers a request.

    Raises:
        StreamViolationError: It does not.
    """
    if answer.tag != "{jabber:client}iq" or answer.get("id") != request_id:
        raise unexpected(answer)


async def sasl_element(wire: Wire, namespace: str, expected: str) -> ET.Element:
    """Return the next element of a login, which has to be ``expected``."""
    return expect(await wire.next_element(), namespace, expected)


def expect(answer: ET.Element, namespace: str, expected: str) -> ET.Element:
    """Return an element of a login, which has to be ``expected``."""
    if answer.tag == f"{{{namespace}}}failure":
        raise _login_refused(answer)
    if answer.tag != f"{{{namespace}}}{expected}":
        raise unexpected(answer)
    return answer


def _login_refused(failure: ET.Element) -> SessionError:
    reason = next(
        (child.tag.rpartition("}")[2] for child in failure), "no reason given"
    )
    if reason == _TEMPORARY:
        return SessionError(
            "the server cannot check passwords just now",
            why=reason,
            fix="Try again in a moment; if it stays, ask its operator.",
        )
    return AuthenticationError(
        "the server refused the user name or the password",
        why=ascii(reason[:40]).strip("'"),
        fix="Check both; nothing is tried again by itself.",
    )


def unexpected(answer: ET.Element) -> StreamViolationError:
    """Return the error for what does not belong where it came."""
    return StreamViolationError(
        "the server answered something that was not asked",
        condition="policy-violation",
        why=f"an element {answer.tag.rpartition('}')[2][:40]!a}",
        fix="Try again in a moment; if it stays, ask its operator.",
    )


def stanza_error(answer: ET.Element) -> str:
    """Return the condition of a stanza's error, at most 40 letters of it.

    Its text is left out: it is of whoever answered, and we show errors to people.
    """
    for child in answer.iterfind("{jabber:client}error/*"):
        if child.tag.startswith(_STANZAS) and not child.tag.endswith("}text"):
            return child.tag.removeprefix(_STANZAS)[:40]
    return "no reason given"
