"""What would be sent to whom, without sending it: ``send --dry-run``."""

from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.account import parse_addressee
from xmpp_onion.address import JID
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Device, Trust, accepts, recipients
from xmpp_onion.errors import NoDevicesError, XmppOnionError
from xmpp_onion.outgoing import ACK_TIMEOUT

__all__ = ["FIELDS", "REQUESTS"]


async def _rehearse(client: Client, request: Line) -> list[Line]:
    """Tell for each recipient which devices would get it, or why it would not go."""
    timeout, to = request.get("timeout"), request["to"]
    seconds = float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT
    texts = to if isinstance(to, list) else []
    people = dict.fromkeys(parse_addressee(str(each)) for each in texts)
    return [await _rehearse_one(client, each, seconds) for each in people]


async def _rehearse_one(client: Client, to: JID, timeout: float) -> Line:
    try:
        readers = set(await client.readers(to, timeout=timeout))
        devices = await client.notary.devices_of(sorted(readers | {client.jid}))
        policies = await client.notary.policies()
        skipped = []
        for reader in sorted(readers - {client.jid}):
            theirs = [each for each in devices if each.jid == reader]
            if not _can_read(policies.get(reader, client.trust), reader, theirs):
                skipped.append(reader)
        _check_somebody(to, skipped)
    except XmppOnionError as error:
        return {**error.as_line(), "what": "nothing would be sent", "to": to}
    gets = [each for each in devices if each.active and accepts(each.trust)]
    return {
        "v": 1,
        "event": "would-send",
        "to": to,
        "devices": [_device(each) for each in gets],
        "left_out": [_device(each) for each in devices if each not in gets],
        "skipped": skipped,
    }


def _can_read(policy: Trust, reader: JID, devices: list[Device]) -> bool:
    """Tell whether somebody has a device that gets it.

    Raises:
        UndecidedDevicesError: Somebody has to decide about one first.
    """
    try:
        return bool(recipients(policy, reader, devices))
    except NoDevicesError:
        return False


def _check_somebody(to: JID, skipped: list[JID]) -> None:
    """Refuse a person who cannot read it; a room goes on without one who cannot."""
    if to in skipped:
        raise NoDevicesError(
            "nothing would be sent",
            jid=to,
            why="there is no device of theirs that may have it",
            fix=f"See why: xmpp-onion devices list {to}",
        )


def _device(device: Device) -> Line:
    return {
        "jid": device.jid,
        "device": device.device_id,
        "fingerprint": device.fingerprint,
        "trust": device.trust.word,
    }


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "dry-run": _rehearse,
}
"""What does a request, by the name in its ``do``."""
# What it cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {_rehearse: frozenset({"to"})}
"""What a request cannot do without, by what does it."""
