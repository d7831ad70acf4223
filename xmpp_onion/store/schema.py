"""The tables of an account's file, and the way from each version to the next.

A migration is one SQL script that ends with its own ``PRAGMA user_version``.
Forward only: a published script never changes, a new one is appended.
"""

from collections.abc import Sequence

from xmpp_onion.errors import StoreTooNewError

APPLICATION_ID = 0x584F4E53  # "XONS": tells our file from another program's

_VERSION_1 = """
PRAGMA application_id = 0x584F4E53;

CREATE TABLE keys (
    key TEXT PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stanza_xml TEXT NOT NULL,
    recipient TEXT NOT NULL,
    message_id TEXT NOT NULL,
    added_at TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (kind, payload)
) STRICT;

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_json TEXT NOT NULL,
    added_at TEXT NOT NULL
) STRICT;

CREATE TABLE seen (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE generation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO generation (id, value) VALUES (1, 0);

PRAGMA user_version = 1;
"""

_VERSION_2 = """
CREATE TABLE cursors (
    archive TEXT PRIMARY KEY NOT NULL,
    last_id TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;

PRAGMA user_version = 2;
"""

# A note outside of the file says how far the store of this name has come.
_VERSION_3 = """
ALTER TABLE generation ADD COLUMN store_id TEXT NOT NULL DEFAULT '';
UPDATE generation SET store_id = lower(hex(randomblob(16)));

PRAGMA user_version = 3;
"""

_VERSION_4 = """
CREATE TABLE contacts (
    jid TEXT PRIMARY KEY NOT NULL,
    subscription TEXT NOT NULL,
    ask INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    jid TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    told INTEGER NOT NULL
) STRICT;

CREATE TABLE tallies (
    kind TEXT NOT NULL,
    jid TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, jid)
) STRICT;

PRAGMA user_version = 4;
"""

_VERSION_5 = """
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    devices INTEGER NOT NULL,
    text_only INTEGER NOT NULL,
    skipped TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (message_id, recipient)
) STRICT;

CREATE TABLE set_aside (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    sender TEXT NOT NULL,
    stanza_xml TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX set_aside_sender ON set_aside (sender);

PRAGMA user_version = 5;
"""

# What strangers caused is counted apart: weight in all (jid empty) and of each.
_VERSION_6 = """
ALTER TABLE inbox ADD COLUMN stranger TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN weight INTEGER NOT NULL DEFAULT 0;

CREATE TABLE waiting (
    jid TEXT PRIMARY KEY NOT NULL,
    weight INTEGER NOT NULL
) STRICT;

CREATE TRIGGER stranger_waits AFTER UPDATE OF stranger ON inbox
WHEN NEW.stranger != '' BEGIN
    INSERT INTO waiting (jid, weight)
    VALUES (NEW.stranger, NEW.weight), ('', NEW.weight)
    ON CONFLICT (jid) DO UPDATE SET weight = weight + excluded.weight;
END;

CREATE TRIGGER stranger_is_heard AFTER DELETE ON inbox
WHEN OLD.stranger != '' BEGIN
    UPDATE waiting SET weight = weight - OLD.weight WHERE jid IN (OLD.stranger, '');
    DELETE FROM waiting WHERE weight <= 0;
END;

PRAGMA user_version = 6;
"""

# What is forgotten first is found without a look at what stays.
_VERSION_7 = """
CREATE INDEX deliveries_done ON deliveries (id)
WHERE state NOT IN ('queued', 'acked');
CREATE INDEX deliveries_acked ON deliveries (id) WHERE state = 'acked';

PRAGMA user_version = 7;
"""

# What waits of strangers is counted apart.
_VERSION_8 = """
ALTER TABLE set_aside ADD COLUMN since TEXT NOT NULL DEFAULT '';
ALTER TABLE set_aside ADD COLUMN stranger INTEGER NOT NULL DEFAULT 0;
CREATE INDEX set_aside_stranger ON set_aside (stranger);

PRAGMA user_version = 8;
"""

# Whom we owe word that a message arrived.
_VERSION_9 = """
CREATE TABLE owed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient TEXT NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (recipient, message_id)
) STRICT;

PRAGMA user_version = 9;
"""

# The rooms that we are in, as far as a restart has to know them; and who asks us
# to come into others.
_VERSION_10 = """
CREATE TABLE rooms (
    jid TEXT PRIMARY KEY NOT NULL,
    nick TEXT NOT NULL,
    strict INTEGER NOT NULL,
    known INTEGER NOT NULL,
    private INTEGER NOT NULL
) STRICT;

CREATE TABLE room_members (
    room TEXT NOT NULL,
    jid TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    PRIMARY KEY (room, jid)
) STRICT;

CREATE TABLE invitations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL UNIQUE,
    inviter TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;

PRAGMA user_version = 10;
"""

# Who has a key in a stanza for a room: the older OMEMO does not say it there.
_VERSION_11 = """
ALTER TABLE outbox ADD COLUMN readers TEXT NOT NULL DEFAULT '';

PRAGMA user_version = 11;
"""

# Whether a bit of a row became another. None in rows of before.
CHECKSUMS_SINCE = 12
_VERSION_12 = """
ALTER TABLE keys ADD COLUMN checksum INTEGER;
ALTER TABLE inbox ADD COLUMN checksum INTEGER;
ALTER TABLE outbox ADD COLUMN checksum INTEGER;
ALTER TABLE set_aside ADD COLUMN checksum INTEGER;

PRAGMA user_version = 12;
"""

# What has had its time is found without a look at what stays. A conversation may
# have a time for all that is said in it.
_VERSION_13 = """
ALTER TABLE inbox ADD COLUMN expires_at TEXT NOT NULL DEFAULT '';
CREATE INDEX inbox_expires ON inbox (expires_at) WHERE expires_at != '';
ALTER TABLE outbox ADD COLUMN expires_at TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_expires ON outbox (expires_at) WHERE expires_at != '';

CREATE TABLE timers (
    jid TEXT PRIMARY KEY NOT NULL,
    seconds INTEGER NOT NULL
) STRICT;

PRAGMA user_version = 13;
"""

# Messages have two names in a room: the sender's and the room's.
_VERSION_14 = """
CREATE TABLE room_names (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    UNIQUE (room, stanza_id)
) STRICT;

CREATE INDEX room_names_by_message ON room_names (room, message_id);

PRAGMA user_version = 14;
"""

# How far each member has read what we said in a room.
_VERSION_15 = """
CREATE TABLE room_marks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    jid TEXT NOT NULL,
    delivery INTEGER NOT NULL,
    UNIQUE (room, jid)
) STRICT;

PRAGMA user_version = 15;
"""

# What a bot wants to know after a restart.
_VERSION_16 = """
CREATE TABLE notes (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 16;
"""

# Who else on this machine may have something sent: of each token its hash.
_VERSION_17 = """
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    may TEXT NOT NULL,
    recipients TEXT NOT NULL,
    added_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 17;
"""

# Whether somebody has begun to act on an event, and may have been killed by then.
_VERSION_18 = """
ALTER TABLE inbox ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 18;
"""

MIGRATIONS: tuple[str, ...] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    _VERSION_4,
    _VERSION_5,
    _VERSION_6,
    _VERSION_7,
    _VERSION_8,
    _VERSION_9,
    _VERSION_10,
    _VERSION_11,
    _VERSION_12,
    _VERSION_13,
    _VERSION_14,
    _VERSION_15,
    _VERSION_16,
    _VERSION_17,
    _VERSION_18,
)


def pending(found: int, migrations: Sequence[str], *, name: str) -> str:
    """Return one script, with its transaction, from version ``found`` to the newest.

    Args:
        found: ``PRAGMA user_version`` of the file; 0 for an empty one.
        migrations: Migration ``i`` leads from version ``i`` to ``i + 1``.
        name: What to call the file in an error.

    Returns:
        The script, or an empty string where there is nothing to do.

    Raises:
        StoreTooNewError: A newer version wrote the file. Upgrade.
    """
    if found > len(migrations):
        raise StoreTooNewError(
            f"{name} was written by a newer version of xmpp-onion",
            found=found,
            known=len(migrations),
            why=f"its format is {found}, this version reads up to {len(migrations)}",
            fix="Upgrade: pip install --upgrade xmpp-onion",
        )
    scripts = migrations[found:]
    if not scripts:
        return ""
    return "\n".join(["BEGIN IMMEDIATE;", *scripts, "COMMIT;"])
