"""Change one setting in the file, and leave all else as somebody wrote it.

Nobody writes a file like this one for a program: comments and order are kept. One line
is changed, and what comes out is compared with what was meant, so that a way to write
TOML that is not understood here ends in an error and never in another setting.
"""

import contextlib
import copy
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias, cast

from xmpp_onion import locks, private
from xmpp_onion.configuration.settings import PROFILE, Setting
from xmpp_onion.errors import ConfigurationError

__all__ = ["read_value", "set_value", "unset_value"]

Keys: TypeAlias = tuple[str, ...]
Value: TypeAlias = "str | bool | float"

_PROFILES: Final = "profiles"
_HEADER: Final = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?")
_ASSIGNMENT: Final = re.compile(r"\s*([^=#\[\]]+?)\s*=(.*)")


def read_value(setting: Setting[object], text: str) -> Value:
    """Return what ``text`` says, as the file has it.

    Raises:
        ValueError: It cannot be the value; begins with a verb, as readers do.
    """
    if setting.is_table:
        raise ValueError("is a table: write it into the file")
    found = setting.read(text)
    return found if isinstance(found, bool | float) else text


def set_value(path: Path, name: str, value: Value, profile: str | None = None) -> None:
    """Set one setting in the file, which is made if it is missing.

    Two processes may do so at once: both settings stay.

    Args:
        path: The file; it is replaced in one step.
        name: Of the setting.
        value: What ``read_value`` returned.
        profile: For this one alone; None for all that say nothing themselves.

    Raises:
        ConfigurationError: It is written in a way that we do not change by ourselves.
        StoreLockedError: Another process is at it and does not end.
        StoreError: It cannot be written.
    """
    keys = _keys(name, profile)
    with _alone(path):
        before = _read(path)
        wanted = cast("dict[str, object]", tomllib.loads(before))
        _put(wanted, keys, value)
        lines = _lines(before)
        place = _find(lines, keys)
        if place is None:
            lines = _add(lines, keys, _written(value))
        else:
            key, comment = _parts(lines[place])
            comment = f"  {comment}" if comment else ""
            lines[place] = f"{key} = {_written(value)}{comment}"
        _write(path, lines, wanted)


def unset_value(path: Path, name: str, profile: str | None = None) -> bool:
    """Take one setting out of the file; False if it was not there.

    Raises:
        ConfigurationError: It is written in a way that we do not change by ourselves.
        StoreLockedError: Another process is at it and does not end.
        StoreError: It cannot be written.
    """
    keys = _keys(name, profile)
    if not path.exists():
        return False  # and no lock file is left for nothing
    with _alone(path):
        before = _read(path)
        wanted = cast("dict[str, object]", tomllib.loads(before))
        if not _drop(wanted, keys):
            return False
        lines = _lines(before)
        place = _find(lines, keys)
        if place is None:
            raise _by_hand(path, ".".join(keys))
        del lines[place]
        _write(path, lines, wanted)
        return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing the file between reading and writing it."""
    if not path.parent.exists():
        private.make_folder(path.parent)
    with locks.hold(path.with_name(f"{path.name}.lock")):
        yield


def _keys(name: str, profile: str | None) -> Keys:
    own = tuple(name.split("."))
    if profile is None or name == PROFILE.name:
        return own
    return (_PROFILES, profile, *own)


def _read(path: Path) -> str:
    """Return the text of a file that was read as a configuration before."""
    try:
        return private.read(path)
    except FileNotFoundError:
        return ""


def _lines(text: str) -> list[str]:
    # Not splitlines(): it breaks at signs that are text for TOML.
    return text.removesuffix("\n").split("\n") if text else []


def _write(path: Path, lines: list[str], wanted: Mapping[str, object]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        found = None
    if found is None or _pruned(found) != _pruned(wanted):
        raise _by_hand(path, "it")
    private.replace(path, text.encode())


def _by_hand(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} was not changed",
        why=f"{what} is written in a way that only a person can change",
        fix="Write it with an editor, then: xmpp-onion config check",
    )


# --- tables -------------------------------------------------------------------------


def _put(table: dict[str, object], keys: Keys, value: Value) -> None:
    *above, last = keys
    for key in above:
        table = cast("dict[str, object]", table.setdefault(key, {}))
    table[last] = value


def _drop(table: dict[str, object], keys: Keys) -> bool:
    *above, last = keys
    for key in above:
        table = cast("dict[str, object]", table.get(key, {}))
    return table.pop(last, None) is not None


def _pruned(value: object) -> object:
    """Return tables without those that are empty, which set nothing."""
    if not isinstance(value, dict):
        return value
    inner = {key: _pruned(each) for key, each in copy.copy(value).items()}
    return {key: each for key, each in inner.items() if each != {}}


# --- lines --------------------------------------------------------------------------


def _find(lines: list[str], keys: Keys) -> int | None:
    """Return the number of the line that sets it."""
    table: Keys = ()
    for number, line in enumerate(lines):
        if found := _HEADER.fullmatch(line):
            table = _path(found[1])
            continue
        found = _ASSIGNMENT.fullmatch(line)
        if found and (*table, *_path(found[1])) == keys:
            return number
    return None


def _add(lines: list[str], keys: Keys, value: str) -> list[str]:
    """Put a new line where the table that it belongs to ends, or into a new one."""
    table, start = _nearest(lines, keys)
    if keys[0] == _PROFILES and len(table) < len((_PROFILES, "its name")):
        head = f"[{_dotted(keys[:2])}]"
        blank = [""] if lines else []
        return [*lines, *blank, head, f"{_dotted(keys[2:])} = {value}"]
    end = next(
        (n for n in range(start, len(lines)) if _HEADER.fullmatch(lines[n])), len(lines)
    )
    # Behind the last that is said there: what stands above a table is about it.
    while end > start and not lines[end - 1].strip().partition("#")[0]:
        end -= 1
    new = f"{_dotted(keys[len(table) :])} = {value}"
    blank = [""] if end == start == 0 and lines and lines[0].strip() else []
    return [*lines[:end], new, *blank, *lines[end:]]


def _nearest(lines: list[str], keys: Keys) -> tuple[Keys, int]:
    """Return the innermost table that the setting can stand in, and where it begins."""
    best: tuple[Keys, int] = ((), 0)
    for number, line in enumerate(lines):
        if found := _HEADER.fullmatch(line):
            table = _path(found[1])
            if keys[: len(table)] == table and len(table) > len(best[0]):
                best = (table, number + 1)
    return best


def _parts(line: str) -> tuple[str, str]:
    """Return the key of an assignment as it stands there, and its comment."""
    found = _ASSIGNMENT.fullmatch(line)
    assert found is not None  # noqa: S101 - it was found by it
    value = found[2]
    for sign in re.finditer("#", value):
        try:
            tomllib.loads(f"x ={value[: sign.start()]}")
        except tomllib.TOMLDecodeError:
            continue  # it is in the middle of a text
        return line.partition("=")[0].rstrip(), value[sign.start() :]
    return line.partition("=")[0].rstrip(), ""


def _path(dotted: str) -> Keys:
    """Return the names in ``a.b."c.d"``; none if it is no such thing."""
    try:
        table: object = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    keys: list[str] = []
    while isinstance(table, dict):
        ((key, table),) = table.items()
        keys.append(key)
    return tuple(keys)


def _dotted(keys: Keys) -> str:
    return ".".join(
        key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _written(key) for key in keys
    )


def _written(value: Value) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    # JSON's texts are TOML's, but for the one sign that only TOML escapes.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
