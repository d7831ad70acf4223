"""Where a message is that did not arrive, before anybody starts anything anew.

A message is in the outbox of its sender, with the server, or set aside or in the inbox
of its receiver. What is read here tells these apart: the stores as they lie on the
disk, the server's sessions, and the last state of each connection.
"""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask

# What may be shown of each table: names and places, no keys and no texts.
_TABLES = {
    "outbox": "id, recipient, message_id, added_at",
    "jobs": "id, kind, payload",
    "inbox": "id, added_at",
    "seen": "id, key",
    "set_aside": "id, key, sender, stanza_id, since",
    "cursors": "archive, last_id, at",
    "sqlite_sequence": "name, seq",
}
_SESSIONS = """
    local lines = {};
    for name, session in pairs(prosody.full_sessions) do
        local queue = session.outgoing_stanza_queue;
        lines[#lines + 1] = ("%s: connected=%s hibernating=%s available=%s "
            .."unconfirmed=%s handled=%s archive=%s"):format(name,
            tostring(session.conn ~= nil), tostring(session.hibernating ~= nil),
            tostring(session.presence ~= nil),
            tostring(queue and queue:count_unacked()),
            tostring(session.handled_stanza_count), tostring(session.mam_requested));
    end
    return table.concat(lines, "\\n");
"""


def read_store(path: Path) -> dict[str, list[dict[str, str | int]]]:
    """Return what a store says about what is on its way; its process may run."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            name: [
                dict(row)
                for row in connection.execute(f"SELECT {columns} FROM {name}")  # noqa: S608 - constants
            ]
            for name, columns in _TABLES.items()
        }


async def read_server(data: Path) -> list[str]:
    """Return a line for each session that a Prosody has."""
    try:
        return (await ask(data, _SESSIONS)).splitlines()
    except ServerError as error:
        return [f"the server does not say: {error.why or error.what}"]


def read_states(history: Path) -> list[str]:
    """Return the last states of a connection, with their times, and what ended."""
    if not history.exists():
        return []
    entries = map(json.loads, history.read_text("utf-8").splitlines())
    told = (
        f"{entry['at']:.3f} {entry.get('state', entry['what'])}"
        for entry in entries
        if entry["what"] in {"state", "started", "ready", "stopped", "failed"}
    )
    return [*told][-8:]


async def tell(
    missing: Iterable[str],
    stores: dict[str, Path],
    histories: dict[str, Path],
    server: Path,
) -> dict[str, object]:
    """Return all that is known about what did not arrive.

    Args:
        missing: The texts, as the judge names them.
        stores: The files of everybody, by name.
        histories: What each has written down.
        server: Prosody's data folder.
    """
    return {
        "missing": [*missing],
        "stores": {name: read_store(path) for name, path in stores.items()},
        "states": {name: read_states(path) for name, path in histories.items()},
        "sessions": await read_server(server),
    }
