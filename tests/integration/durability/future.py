"""Formats of the store that do not exist yet, for processes "of a newer version"."""

from xmpp_onion.store import Database, schema


def install_future(count: int) -> None:
    """Let this process know so many migrations more than there are.

    Each rewrites what is worth most, the keys, and carries a copy of them along.
    """
    newest = len(schema.MIGRATIONS)
    scripts = [_script(newest + number) for number in range(1, count + 1)]
    # The function itself, under what makes it a class method and a context manager.
    opening = Database.open.__wrapped__  # type: ignore[attr-defined] # contextlib's
    opening.__kwdefaults__["migrations"] = (*schema.MIGRATIONS, *scripts)


def _script(version: int) -> str:
    return f"""
CREATE TABLE future_{version} AS SELECT * FROM keys;
DELETE FROM keys;
INSERT INTO keys SELECT * FROM future_{version};
DROP TABLE IF EXISTS future_{version - 1};
ALTER TABLE inbox ADD COLUMN future_{version} TEXT NOT NULL DEFAULT '';

PRAGMA user_version = {version};
"""  # noqa: S608 - a number of ours
