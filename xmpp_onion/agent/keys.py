"""What other processes may ask the holder about devices and trust."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from xmpp_onion.account import parse_recipient
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Device, Trust, parse_fingerprint
from xmpp_onion.notary import Change

__all__ = ["FIELDS", "REQUESTS"]


async def _list_devices(client: Client, request: Line) -> list[Line]:
    devices = await client.devices(str(request.get("jid", "")))
    this = client.device_id
    return [
        # By its number: an account that was imported has several with one key.
        _device_line(device) | {"this": device.own and device.device_id == this}
        for device in devices
    ]


async def _verify(client: Client, request: Line) -> list[Line]:
    device = await client.verify(str(request["jid"]), str(request["fingerprint"]))
    return [_device_line(device)]


async def _pin(client: Client, request: Line) -> list[Line]:
    owner = parse_recipient(str(request["jid"]))
    digits = parse_fingerprint(str(request["fingerprint"]))
    client.account.update(lambda account: account.pin(owner, digits))
    # Beside those that a bot was written with, which are in no file.
    client.account = client.account.pin(owner, digits)
    await client.notary.pin(owner, digits)
    return [{"v": 1, "event": "pinned", "jid": owner, "fingerprint": digits}]


async def _set_automatic(client: Client, request: Line) -> list[Line]:
    """Keep it in the account, and do so from now on."""
    is_on = bool(request["on"])
    client.account = client.account.update(
        lambda account: replace(account, automatic_trust=is_on)
    )
    await client.notary.set_automatic_trust(is_on=is_on)
    return [{"v": 1, "event": "automatic-trust", "jid": client.jid, "on": is_on}]


async def _verify_uri(client: Client, request: Line) -> list[Line]:
    devices = await client.verify_uri(str(request["uri"]))
    return [_device_line(device) for device in devices]


async def _distrust(client: Client, request: Line) -> list[Line]:
    device = await client.distrust(str(request["jid"]), str(request["fingerprint"]))
    return [_device_line(device)]


async def _label(client: Client, request: Line) -> list[Line]:
    device = await client.notary.set_label(str(request["label"]))
    return [_device_line(device)]


async def _remove_device(client: Client, request: Line) -> list[Line]:
    number, with_this = int(str(request["device"])), bool(request["yes"])
    device = await client.notary.remove_device(number, with_this=with_this)
    return [_device_line(device)]


async def _own_uri(client: Client, request: Line) -> list[Line]:  # noqa: ARG001 - one signature for all
    uri = await client.notary.own_uri()
    return [{"v": 1, "event": "uri", "jid": client.jid, "uri": str(uri)}]


async def _list_policies(client: Client, request: Line) -> list[Line]:  # noqa: ARG001 - one signature for all
    policies = await client.notary.policies()
    return [
        _policy_line(client.jid, client.trust, is_default=True),
        *(
            _policy_line(jid, policy, is_default=False)
            for jid, policy in sorted(policies.items())
        ),
    ]


async def _set_policy(client: Client, request: Line) -> list[Line]:
    jid, word = parse_recipient(str(request["jid"])), str(request["policy"])
    policy = None if word == "default" else Trust.parse(word)
    holds = await client.set_policy(jid, policy)
    return [_policy_line(jid, holds, is_default=policy is None)]


async def _export(client: Client, request: Line) -> list[Line]:  # noqa: ARG001 - one signature for all
    return [
        {
            "v": 1,
            "event": "decision",
            "jid": entry.jid,
            "fingerprint": entry.fingerprint,
            "trust": entry.level.word,
        }
        for entry in await client.notary.export()
    ]


async def _import(client: Client, request: Line) -> list[Line]:
    text, is_real = str(request["text"]), bool(request["yes"])
    notary = client.notary
    changes = await (notary.import_text(text) if is_real else notary.changes(text))
    return [_change_line(change, is_done=is_real) for change in changes]


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "devices": _list_devices,
    "pin": _pin,
    "automatic-trust": _set_automatic,
    "verify": _verify,
    "verify-uri": _verify_uri,
    "distrust": _distrust,
    "label": _label,
    "remove-device": _remove_device,
    "own-uri": _own_uri,
    "policies": _list_policies,
    "policy": _set_policy,
    "export-trust": _export,
    "import-trust": _import,
}
"""What does a request, by the name in its ``do``."""
FIELDS: Mapping[object, frozenset[str]] = {
    _list_devices: frozenset(),
    _pin: frozenset({"jid", "fingerprint"}),
    _set_automatic: frozenset({"on"}),
    _verify: frozenset({"jid", "fingerprint"}),
    _verify_uri: frozenset({"uri"}),
    _distrust: frozenset({"jid", "fingerprint"}),
    _label: frozenset({"label"}),
    _remove_device: frozenset({"device", "yes"}),
    _own_uri: frozenset(),
    _list_policies: frozenset(),
    _set_policy: frozenset({"jid", "policy"}),
    _export: frozenset(),
    _import: frozenset({"text", "yes"}),
}
"""What a request cannot do without, by what does it."""


def _device_line(device: Device) -> Line:
    return {
        "v": 1,
        "event": "device",
        "jid": device.jid,
        "own": device.own,
        "device": device.device_id,
        "fingerprint": device.fingerprint,
        "trust": device.trust.word,
        "active": device.active,
        "label": device.label,
        "seen": device.seen and f"{device.seen:%Y-%m-%dT%H:%M:%SZ}",
    }


def _policy_line(jid: str, policy: Trust, *, is_default: bool) -> Line:
    return {
        "v": 1,
        "event": "policy",
        "jid": jid,
        "policy": str(policy),
        "default": is_default,
    }


def _change_line(change: Change, *, is_done: bool) -> Line:
    return {
        "v": 1,
        "event": "change",
        "jid": change.jid,
        "fingerprint": change.fingerprint,
        "before": change.before.word,
        "after": change.after.word,
        "done": is_done,
    }
