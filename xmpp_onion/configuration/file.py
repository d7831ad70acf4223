"""Reads the file and the environment, and says what counts."""

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self, TypeAlias, TypeVar, cast

from platformdirs import user_config_path

from xmpp_onion import private
from xmpp_onion.configuration.settings import PROFILE, SETTINGS, Entry, Setting, Source
from xmpp_onion.errors import ConfigurationError

__all__ = ["Configuration", "config_path"]

T = TypeVar("T")

Layer: TypeAlias = "tuple[Source, Mapping[str, object]]"

# A thousand pins take 100 KB.
_LIMIT_BYTES: Final = 512 * 1024
_PROFILES: Final = "profiles"


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the file is, which need not exist."""
    if named := environ.get("XMPP_ONION_CONFIG"):
        return Path(named)
    return user_config_path("xmpp-onion", appauthor=False) / "config.toml"


class Configuration:
    """What was set, for one profile.

    Attributes:
        path: The file, which need not exist.
        profile: Whose settings these are.

    Args:
        path: As above.
        profile: As above.
        entries: What counts, by the name of the setting.
    """

    def __init__(self, path: Path, profile: str, entries: Mapping[str, Entry]) -> None:
        self.path = path
        self.profile = profile
        self._entries = entries

    def __repr__(self) -> str:
        return f"<Configuration of {self.profile!r}>"  # no value: some are secret

    @classmethod
    def load(
        cls,
        *,
        flags: Mapping[str, object] | None = None,
        path: Path | None = None,
        environ: Mapping[str, str] | None = None,
        may_be_missing: bool = False,
    ) -> Self:
        """Read the file and the environment.

        Args:
            flags: What was typed, by the names of the settings; None counts as
                nothing.
            path: The file, which has to be there; ``config_path()`` by default.
            environ: Variables; by default those of this process.
            may_be_missing: A file that was named need not be there: it is to be made.

        Raises:
            ConfigurationError: A key or value is none of ours, or there is no such
                file.
            StorePermissionError: Others can read or change the file.
        """
        raw = os.environ if environ is None else environ
        is_named = path is not None or bool(raw.get("XMPP_ONION_CONFIG"))
        place = path or config_path(raw)
        table = _read_file(place, is_needed=is_named and not may_be_missing)
        typed = {name: v for name, v in (flags or {}).items() if v is not None}
        top = _flatten(place, {k: v for k, v in table.items() if k != _PROFILES})
        tables = _profiles(place, table)
        given = {
            each.name: raw[each.variable]
            for each in SETTINGS.values()
            if each.variable and raw.get(each.variable)
        }
        layers: list[Layer] = [
            (Source.FILE, top),
            (Source.ENVIRONMENT, given),
            (Source.FLAG, typed),
        ]
        profile = str(_pick(PROFILE, layers, place).value)
        layers.insert(1, (Source.PROFILE, tables.get(profile, {})))
        return cls(
            place, profile, {n: _pick(s, layers, place) for n, s in SETTINGS.items()}
        )

    def __getitem__(self, setting: Setting[T]) -> T:
        """Return the value of a setting."""
        return cast("T", self._entries[setting.name].value)

    def entry(self, setting: Setting[T]) -> Entry:
        """Return the value of a setting, and who said it."""
        return self._entries[setting.name]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in their order."""
        return tuple(self._entries.values())


def _pick(setting: Setting[T], layers: Iterable[Layer], path: Path) -> Entry:
    """Return the value that counts, of the last layer; each has to be good."""
    one = cast("Setting[object]", setting)
    found = Entry(one, setting.default, Source.DEFAULT)
    for source, values in layers:
        if setting.name in values:
            raw = values[setting.name]
            is_read = source is Source.FLAG  # the command line has its own types
            value = raw if is_read else _read(setting, raw, source, path)
            found = Entry(one, value, source)
    return found


def _read(setting: Setting[T], raw: object, source: Source, path: Path) -> T:
    try:
        return setting.read(raw)
    except ValueError as error:
        from_environment = source is Source.ENVIRONMENT
        where = f"${setting.variable}" if from_environment else str(path)
        raise ConfigurationError(
            f"{where} cannot be used",
            why=f"{setting.name} {error}",
            fix="See docs/reference/configuration.md.",
        ) from None


# --- the file ----------------------------------------------------------------------


def _read_file(place: Path, *, is_needed: bool) -> dict[str, object]:
    """Return what is in the file; an empty table if there is none and need be none."""
    try:
        raw = private.read_bytes(place, _LIMIT_BYTES + 1)
        if len(raw) > _LIMIT_BYTES:
            raise ConfigurationError(
                f"{place} is too long",
                why=f"it may have {_LIMIT_BYTES // 1024} KiB",
                fix="Name another file, with --config or $XMPP_ONION_CONFIG.",
            )
        return tomllib.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        if is_needed:
            raise ConfigurationError(
                f"there is no file {place}",
                why="it was named with --config or $XMPP_ONION_CONFIG",
                fix="Name one that is there, or make it with a first setting: "
                f"xmpp-onion config set --config {shlex.quote(str(place))} NAME VALUE",
            ) from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # Its place alone: what stands there may be a secret.
        found = re.search(r"line \d+, column \d+", str(error))
        raise ConfigurationError(
            f"{place} is no TOML",
            why=found[0] if found else type(error).__name__,
            fix="Mend it with an editor, then: xmpp-onion config check",
        ) from None


def _profiles(path: Path, table: Mapping[str, object]) -> dict[str, dict[str, object]]:
    found = table.get(_PROFILES, {})
    if not isinstance(found, dict):
        raise _unknown(path, _PROFILES, "is the table of the profiles")
    checked: dict[str, dict[str, object]] = {}
    for name, own in found.items():
        if not isinstance(own, dict):
            raise _unknown(path, f"{_PROFILES}.{name}", "must be a table")
        checked[name] = _flatten(path, own)
        if PROFILE.name in checked[name]:
            raise _unknown(
                path, f"{_PROFILES}.{name}.profile", "stands at the top only"
            )
        for key, value in checked[name].items():
            _read(SETTINGS[key], value, Source.PROFILE, path)
    return checked


def _flatten(
    path: Path, table: Mapping[str, object], before: str = ""
) -> dict[str, object]:
    """Return values by the names of their settings.

    Raises:
        ConfigurationError: A key is no setting's name.
    """
    flat: dict[str, object] = {}
    for key, value in table.items():
        name = before + key
        if name in SETTINGS:
            flat[name] = value
        elif isinstance(value, dict) and any(
            n.startswith(f"{name}.") for n in SETTINGS
        ):
            flat |= _flatten(path, value, f"{name}.")
        else:
            near = difflib.get_close_matches(name, [*SETTINGS, _PROFILES], 1)
            raise _unknown(path, name, "is none", near[0] if near else "")
    return flat


def _unknown(path: Path, name: str, why: str, near: str = "") -> ConfigurationError:
    return ConfigurationError(
        f"{path} has a setting that is not known",
        why=f"{name[:80]!a} {why}",
        fix=f"Did you mean {near}?" if near else "See docs/reference/configuration.md.",
    )
