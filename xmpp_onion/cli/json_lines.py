"""What each line of ``--json`` has: the table behind docs/reference/json-lines.md.

Every line has ``"v": 1`` and ``"event"``. A field is only ever added, and what it is
never changes. Tests hold what the commands print against this table.
"""

from typing import Final

__all__ = ["EVENTS", "faults", "render"]

_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "text": str,
    "whole": int,
    "number": (int, float),
    "yes/no": bool,
    "list": list,
    "table": dict,
}
_MESSAGE: Final = (
    "id:text from:text to:text room:text? encrypted:yes/no namespace:text? "
    "device:whole? fingerprint:text? trust:text at:text expires_at:text?"
)
_TEXT: Final = "body:text reply_to:text? mentions:list"
_FILE: Final = "name:text size:whole media_type:text? seconds:number? url:text"
_ROOM_EVENT: Final = (
    "room:text jid:text? nick:text? affiliation:text? by:text? private:yes/no? "
    "reason:text? count:whole at:text"
)
_ALARM: Final = "jid:text device:whole fingerprint:text trust:text at:text"
_TOKEN: Final = "name:text may:text to:list since:text"  # noqa: S105 - fields of a line
_INVITE: Final = "id:text kind:text name:text room:text? expires:text"
_ERROR: Final = "code:whole what:text why:text fix:text to:text*"
_DEVICE: Final = (
    "jid:text own:yes/no device:whole fingerprint:text trust:text active:yes/no "
    "label:text? seen:text? this:yes/no*"
)

# A field is name:kind. Behind it, ? says that it may be null, and * that it is not in
# every line of the event.
EVENTS: Final[dict[str, dict[str, str]]] = {
    "messages": {
        "message": f"{_MESSAGE} {_TEXT} mentions_me:yes/no",
        "own-message": f"{_MESSAGE} {_TEXT}",
        "file": f"{_MESSAGE} {_FILE}",
        "own-file": f"{_MESSAGE} {_FILE}",
        "correction": f"{_MESSAGE} target:text body:text",
        "reaction": f"{_MESSAGE} target:text emojis:list",
        "retraction": f"{_MESSAGE} target:text",
        "typing": f"{_MESSAGE} state:text",
        "undecryptable": "id:text? from:text room:text? reason:text count:whole "
        "at:text",
        "moderated": "room:text target:text author:text? by:text? reason:text? "
        "encrypted:yes/no at:text",
        "gap": "from:text since:text until:text",
        "rolled-back": "jid:text at:text",
    },
    "what becomes of what was sent": {
        "sent": "id:text to:text encrypted:yes/no devices:whole skipped:list "
        "text_only:whole state:text reason:text?",
        "would-send": "to:text devices:list left_out:list skipped:list",
        "shown": "id:text room:text jid:text",
        "receipt": "id:text from:text room:text? state:text "
        "authenticated:yes/no at:text",
        "failed": "id:text to:text reason:text at:text",
        "progress": "name:text done:whole total:whole",
        "downloaded": "path:text size:whole seconds:number*",
    },
    "devices and trust": {
        "device": _DEVICE,
        "pinned": "jid:text fingerprint:text",
        "policy": "jid:text policy:text default:yes/no",
        "automatic-trust": "jid:text on:yes/no",
        "uri": "jid:text uri:text",
        "decision": "jid:text fingerprint:text trust:text",
        "change": "jid:text fingerprint:text before:text after:text done:yes/no",
        "new-device": f"{_ALARM} own:yes/no",
        "key-changed": f"{_ALARM} before:text",
        "key-reuse": f"{_ALARM} owner:text",
        "trust-changed": f"{_ALARM} by:text",
    },
    "people": {
        "contact": "jid:text state:text asked:yes/no*",
        "request": "from:text at:text",
        "requests": "from:text count:whole at:text*",
        "contact-accepted": "from:text at:text",
        "contact-removed": "from:text at:text",
        "contact-followed": "jid:text old:text new:text",
        "receipts": "jid:text on:yes/no",
        "timer": "jid:text seconds:whole?",
    },
    "rooms": {
        "room": "room:text nick:text* members:whole here:whole* joined:yes/no* "
        "private:yes/no* strict:yes/no* unaccepted:list* reason:text?* seconds:number*",
        "room-state": "room:text state:text",
        "member": "room:text jid:text state:text here:yes/no* nick:text?* doubt:text?* "
        "accepted:yes/no*",
        "bookmark": "room:text nick:text? joined:yes/no",
        "invitations": "jid:text count:whole",
        "more-invitations": "jid:text count:whole",
        "room-invited": _ROOM_EVENT,
        "room-joined": _ROOM_EVENT,
        "room-left": _ROOM_EVENT,
        "room-affiliation": _ROOM_EVENT,
        "room-configuration": _ROOM_EVENT,
    },
    "accounts": {
        "account": "profile:text jid:text? trust:text? encrypted:yes/no "
        "fingerprint:text*",
        "encrypted": "profile:text jid:text trust:text encrypted:yes/no",
        "removed": "profile:text jid:text?",
        "keyring": "profile:text stored:yes/no",
        "exported": "jid:text file:text fingerprint:text device:whole rows:whole",
        "imported": "profile:text jid:text fingerprint:text former_device:whole "
        "rows:whole encrypted:yes/no",
        "ready": "jid:text",
    },
    "the agent": {
        "agent": "state:text profile:text* jid:text* agent:yes/no* queue:whole* "
        "spooled:whole* held:list* tor:text?* since:text* pid:whole* lent:table?*",
        "unit": "text:text",
        "token": f"{_TOKEN} token:text*",
        "token-removed": _TOKEN,
    },
    "measuring": {
        "machine": "version:text python:text system:text cores:whole load:number "
        "prosody:text at:text rate:whole loss:number",
        "figure": "subject:text contestant:text rtt:number size:whole "
        "round_trips:whole? goal:whole? seconds:number bytes_up:whole bytes_down:whole",
        "measured": "what:text seconds:number",
    },
    "all commands": {
        "error": _ERROR,
        "check": "name:text ok:yes/no what:text why:text fix:text code:whole",
        "config": "path:text exists:yes/no",
        "setting": "name:text value:text source:text text:text",
        "version": "version:text python:text system:text libraries:table tor:table? "
        "prosody:table?",
        "completion": "shell:text text:text",
    },
}
"""The events of the commands for accounts, by what they are about."""


def faults(line: dict[str, object]) -> list[str]:
    """Return what a line lacks, or has of another kind than the table says.

    An event that is not in the table, such as one of ``server``, has none.
    """
    fields = {name: text for group in EVENTS.values() for name, text in group.items()}
    event = str(line.get("event"))
    found = [] if line.get("v") == 1 else ['it has no "v": 1']
    for field in fields.get(event, "").split():
        name, _, kind = field.partition(":")
        is_optional, may_be_null = kind.endswith("*"), "?" in kind
        if name not in line:
            found += [] if is_optional else [f"{event} has no {name}"]
        elif line[name] is None:
            found += [] if may_be_null else [f"{name} of {event} is null"]
        elif not _is_a(line[name], kind.rstrip("?*")):
            found.append(f"{name} of {event} is no {kind}")
    return found


def _is_a(value: object, kind: str) -> bool:
    if isinstance(value, bool):  # which is a whole number to Python
        return kind == "yes/no"
    return isinstance(value, _KINDS[kind])


def render() -> str:
    """Return the tables of docs/reference/json-lines.md."""
    parts = []
    for title, events in EVENTS.items():
        lines = [
            f"## {title[0].upper()}{title[1:]}",
            "",
            "| event | fields |",
            "|---|---|",
        ]
        lines += [f"| `{name}` | {_render(text)} |" for name, text in events.items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _render(text: str) -> str:
    return ", ".join(_render_field(field) for field in text.split())


def _render_field(field: str) -> str:
    name, _, kind = field.partition(":")
    words = [kind.rstrip("?*")]
    words += ["or null"] if "?" in kind else []
    words += ["not always"] if kind.endswith("*") else []
    return f"`{name}` {' '.join(words)}"
