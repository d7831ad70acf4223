"""What the process that holds an account can tell about its health, and no other.

The lines are those of ``xmpp-onion doctor``: what, why, and how to mend it.
"""

from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.agent.findings import check_line
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Shown
from xmpp_onion.errors import EncryptionError, TorError, XmppOnionError
from xmpp_onion.transport import Tor, connections, is_beside_tor

__all__ = ["FIELDS", "REQUESTS"]

# A device that shows fewer is short of them: several people may take the same one.
_FEW_PRE_KEYS = 5


async def _check(client: Client, request: Line) -> list[Line]:  # noqa: ARG001 - one signature for all
    return [
        check_line("leaks", _check_leaks(client)),
        check_line("keys", await _check_keys(client)),
    ]


def _check_leaks(client: Client) -> str | XmppOnionError:
    """Tell of connections of this process that go elsewhere than to Tor."""
    ends = connections()
    if ends is None:
        return "this system does not tell where a program has connections to"
    tor = client.tor
    known = frozenset[tuple[str, int]]()
    if isinstance(tor, Tor):
        known = frozenset({(tor.socks.host, tor.socks.port)})
    beside = sorted(f"{host} port {port}" for host, port in ends
                    if is_beside_tor((host, port), known))  # fmt: skip
    if beside:
        return TorError(
            "the process that holds the account has connections beside Tor",
            why=f"to {', '.join(beside)}",
            fix="End it. If it runs no code but ours, this is a bug: report it.",
        )
    return f"connections: {len(ends)}, none of them beside Tor"


async def _check_keys(client: Client) -> str | XmppOnionError:
    """Read back what the server shows of this device."""
    try:
        shown = await client.notary.read_back()
    except XmppOnionError as error:
        return error
    for one in shown:
        if why := _fault(one, client.fingerprint):
            return EncryptionError(
                "others cannot write to this device",
                why=f"{why} ({one.namespace})",
                fix="Start the program that holds the account again: it publishes "
                "what is missing. See who else may change the account's lists.",
            )
    devices = max(one.devices for one in shown)
    pre_keys = min(one.pre_keys for one in shown)
    these = "1 device" if devices == 1 else f"{devices} devices"
    return f"published and read back: {these}, {pre_keys} pre-keys"


def _fault(one: Shown, fingerprint: str) -> str:
    if not one.is_listed:
        return "it is not in the account's device list"
    if not one.fingerprint:
        return "its keys are not there"
    if one.fingerprint != fingerprint:
        return "the server shows another key in its place"
    if one.pre_keys < _FEW_PRE_KEYS:
        return f"only {one.pre_keys} pre-keys are left"
    return ""


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "check": _check,
}
"""What does a request, by the name in its ``do``."""
FIELDS: Mapping[object, frozenset[str]] = {_check: frozenset()}
"""What a request cannot do without, by what does it."""
