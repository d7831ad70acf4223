"""Settings from a file and the environment: what no option of a command says.

``$XDG_CONFIG_HOME/xmpp-onion/config.toml``, or the file that ``$XMPP_ONION_CONFIG``
names. What is typed counts most, then the environment, then the table of the
profile, then the top of the file::

    socks = "127.0.0.1:9150"          # for every profile

    [profiles.alerts]                 # for this one
    log.format = "json"

    [profiles.alerts.trust]
    policy = "pinned"
    pins = {"root@….onion" = ["64 hex digits"]}

    [profiles.alerts.roles]
    admin = ["root@….onion"]

A program asks for what it wants by the setting, and gets it with its type::

    configuration = Configuration.load(flags={"profile": "alerts"})
    configuration[SOCKS]                   # "127.0.0.1:9150", or None
    configuration.entry(SOCKS).source      # "environment", "profile", "file", …

The file says whom we believe and which Tor we use, so it has to be this user's
alone. A key that is unknown is an error, never ignored: a pin that is mistyped
would else be one that is missing.
"""

from xmpp_onion.configuration.file import Configuration, config_path
from xmpp_onion.configuration.settings import (
    BOT_HEALTH_SOCKET,
    BOT_LANGUAGE,
    BOT_MAX_AGE,
    BOT_PREFIX,
    BOT_REPLAY,
    BOT_TIMEOUT,
    CONTROL,
    DATA_DIR,
    KEY_FILE,
    LOG_FORMAT,
    LOG_LEVEL,
    PASSPHRASE_FILE,
    PROFILE,
    ROLES,
    SETTINGS,
    SOCKS,
    TRUST_PINS,
    TRUST_POLICY,
    Entry,
    Setting,
    Source,
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
    "Configuration",
    "Entry",
    "Setting",
    "Source",
    "config_path",
]
