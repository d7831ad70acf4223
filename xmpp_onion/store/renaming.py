"""Everything that is kept, with other names of the people in it."""

from collections.abc import Callable, Collection
from typing import Final

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import CHECKED, checksum, compare

__all__ = ["rename"]

# A trigger counts what waits of a stranger whenever that stranger's name is set.
_COUNT_AGAIN: Final = """
INSERT INTO waiting (jid, weight)
SELECT jid, weight FROM (
    SELECT stranger AS jid, sum(weight) AS weight FROM inbox
    WHERE stranger != '' GROUP BY stranger
    UNION ALL SELECT '', sum(weight) FROM inbox WHERE stranger != ''
) WHERE weight > 0
"""


async def rename(
    database: Database,
    old: str,
    change: Callable[[str, str], str],
    *,
    leave: Collection[str] = (),
) -> int:
    """Put a new name of a server in place of an old one, in all rows.

    What is said of somebody under the new name already gives way. In a transaction;
    nothing else may have read from the database before, or must be made anew.

    Args:
        database: Of the account.
        old: What is in a text that has to change.
        change: Returns what is to be in a column, of its name and what is there. In
            ``event_json``, that which waits for its reader, nothing is to change that
            somebody said.
        leave: Tables that stay as they are.

    Returns:
        How many rows changed.

    Raises:
        RuntimeError: Not inside a transaction.
        StoreCorruptError: A row is not what was written.
    """
    database.require_transaction()
    tables = await database.fetch(
        "SELECT name FROM sqlite_master WHERE type = 'table' "
        "AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    count = 0
    for row in tables:
        if row["name"] in leave:
            continue
        count += await _rename_in(database, str(row["name"]), old, change)
    await database.execute("DELETE FROM waiting")
    await database.execute(_COUNT_AGAIN)
    return count


async def _rename_in(
    database: Database, table: str, old: str, change: Callable[[str, str], str]
) -> int:
    info = await database.fetch(f"PRAGMA table_info({table})")
    columns = [str(each["name"]) for each in info if each["type"] == "TEXT"]
    keys = [str(each["name"]) for each in info if each["pk"]]
    if not columns:
        return 0
    has_old = " OR ".join(f"instr({column}, ?)" for column in columns)
    found = await database.fetch(
        f"SELECT * FROM {table} WHERE {has_old}",  # noqa: S608 - names of our schema
        [old] * len(columns),
    )
    for row in found:
        values: dict[str, str | int] = {}
        for column in columns:
            if old in (text := str(row[column])):
                values[column] = change(column, text)
        if table in CHECKED:
            parts = CHECKED[table]
            compare(database.path, table, row["checksum"], *(row[p] for p in parts))
            values["checksum"] = checksum(*(str(values.get(p, row[p])) for p in parts))
        names = ", ".join(f"{name} = ?" for name in values)
        where = " AND ".join(f"{key} = ?" for key in keys)
        await database.execute(
            f"UPDATE OR REPLACE {table} SET {names} WHERE {where}",  # noqa: S608 - names of our schema
            [*values.values(), *(row[key] for key in keys)],
        )
    return len(found)
