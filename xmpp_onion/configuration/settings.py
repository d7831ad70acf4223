"""All that can be set, and what is known about each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar, cast

from xmpp_onion.configuration.readers import (
    Reader,
    Table,
    one_of,
    read_bool,
    read_path,
    read_pins,
    read_place,
    read_prefix,
    read_profile,
    read_roles,
    read_seconds,
    read_text,
    read_trust,
)

__all__ = [
    "BOT_HEALTH_SOCKET",
    "BOT_LANGUAGE",
    "BOT_MAX_AGE",
    "BOT_PREFIX",
    "BOT_REPLAY",
    "BOT_TIMEOUT",
    "CONTROL",
    "DATA_DIR",
    "KEY_FILE",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "PASSPHRASE_FILE",
    "PROFILE",
    "ROLES",
    "SETTINGS",
    "SOCKS",
    "TRUST_PINS",
    "TRUST_POLICY",
    "Entry",
    "Setting",
    "Source",
]

T = TypeVar("T")


class Source(StrEnum):
    """Who said a value; the first counts most."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One thing that can be set.

    Attributes:
        name: As in the file, with dots between tables.
        read: Reads a value.
        default: What holds if nobody says anything.
        text: What it is, in one line.
        is_secret: Never shown.
        is_table: A table is its value, and no other settings: it has no variable.
    """

    name: str
    read: Reader[T]
    default: T
    text: str
    is_secret: bool = False
    is_table: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it; empty if none does."""
        if self.is_table:
            return ""
        return "XMPP_ONION_" + self.name.upper().replace(".", "_")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and who said it.

    Attributes:
        setting: What it is of.
        value: As the program uses it.
        source: Who said it.
    """

    setting: Setting[object]
    value: object = field(repr=False)
    source: Source

    @property
    def shown(self) -> str:
        """The value for a person; a secret is only said to be there."""
        if self.value is None:
            return ""
        if self.setting.is_secret:
            return "(set)"
        if isinstance(self.value, Mapping):
            pairs = [f"{key}: {', '.join(sorted(v))}" for key, v in self.value.items()]
            return "; ".join(pairs)
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return str(self.value)


# --- what can be set ---------------------------------------------------------------

PROFILE = Setting("profile", read_profile, "default", "Which account of yours.")
DATA_DIR = Setting("data_dir", read_path, None, "Where profiles live.")
SOCKS = Setting("socks", read_place, None, "The SOCKS port of the Tor to use.")
CONTROL = Setting("control", read_text, None, "Its control port.")
KEY_FILE = Setting("key_file", read_path, None, "What opens an encrypted account.")
PASSPHRASE_FILE = Setting("passphrase_file", read_text, None, "Or its passphrase.")
LOG_FORMAT = Setting(
    "log.format", one_of("text", "json"), "text", "How a bot's log is written."
)
LOG_LEVEL = Setting(
    "log.level",
    one_of("debug", "info", "warning", "error"),
    "info",
    "What a bot's log has.",
)
TRUST_POLICY = Setting(
    "trust.policy", read_trust, None, "Whose orders a bot takes: it has no default."
)
TRUST_PINS: Setting[Table] = Setting(
    "trust.pins",
    read_pins,
    {},
    "Fingerprints that a bot believes, by JID.",
    is_table=True,
)
ROLES: Setting[Table] = Setting(
    "roles", read_roles, {}, "Who has which role of a bot.", is_table=True
)
BOT_PREFIX = Setting(
    "bot.prefix", read_prefix, "!", "What a bot's commands begin with."
)
BOT_LANGUAGE = Setting(
    "bot.language", read_text, None, "What a bot speaks by itself, such as de."
)
BOT_TIMEOUT = Setting(
    "bot.timeout", read_seconds, 60.0, "Seconds that a bot's handler may take."
)
BOT_MAX_AGE = Setting(
    "bot.max_age", read_seconds, 600.0, "Seconds after which a command is too old."
)
BOT_REPLAY = Setting(
    "bot.replay", read_bool, default=False, text="Do commands also if they are old."
)
BOT_HEALTH_SOCKET = Setting(
    "bot.health_socket", read_path, None, "Where a bot tells how it is, for Prometheus."
)

SETTINGS: Final[Mapping[str, Setting[object]]] = {
    each.name: cast("Setting[object]", each)
    for each in (
        PROFILE,
        DATA_DIR,
        SOCKS,
        CONTROL,
        KEY_FILE,
        PASSPHRASE_FILE,
        LOG_FORMAT,
        LOG_LEVEL,
        TRUST_POLICY,
        TRUST_PINS,
        ROLES,
        BOT_PREFIX,
        BOT_LANGUAGE,
        BOT_TIMEOUT,
        BOT_MAX_AGE,
        BOT_REPLAY,
        BOT_HEALTH_SOCKET,
    )
}
"""All settings by their names, in the order in which they are shown."""
