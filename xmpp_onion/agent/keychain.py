"""The keyring of the desktop: it keeps the passphrase of an account, if asked to.

With the extra ``keyring``. Only keyrings of the system are used, and one that the
person names in ``$PYTHON_KEYRING_BACKEND``: among the others are some that write
passphrases into a file as they are, and some that send them over the network.
"""

import logging
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self, cast

from xmpp_onion.errors import StoreKeyError
from xmpp_onion.seal import Secret

__all__ = ["Keychain"]

log = logging.getLogger(__name__)

# Under which all passphrases of ours are found.
_SERVICE = "xmpp-onion"
_NAMED = "PYTHON_KEYRING_BACKEND"
# Of the library's own, in this order: those that ask a program of the system.
_OF_THE_SYSTEM = {
    "keyring.backends.SecretService": "Keyring",
    "keyring.backends.libsecret": "Keyring",
    "keyring.backends.kwallet": "DBusKeyring",
    "keyring.backends.macOS": "Keyring",
}
# They ask it through D-Bus, which libraries other than jeepney take over TCP, too.
_BUS = "DBUS_SESSION_BUS_ADDRESS"
_LOCAL_BUSES = ("unix:", "launchd:")
# Not even by name: what keeps nothing, and what keeps it for everybody to read.
_NEVER = ("keyring.backends.null", "keyring.backends.fail", "keyrings.alt")

_OTHERWISE = "Unlock the keyring of your desktop, or use --passphrase-file"


class _Backend(Protocol):
    """What we use of ``keyring.backend.KeyringBackend``."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return what is kept; None for nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it, in the place of another."""

    def delete_password(self, service: str, username: str) -> None:
        """Forget it; an error if there is nothing."""


@dataclass(frozen=True, slots=True)
class Keychain:
    """A keyring that is good enough; a passphrase lies there by its account's folder.

    Not by the JID: the names of what a keyring keeps are not encrypted everywhere.
    """

    _backend: _Backend

    @classmethod
    def open(cls) -> Self:
        """Return the keyring of this machine.

        Raises:
            StoreKeyError: There is none, or none that is good enough.
        """
        _check_bus(os.environ.get(_BUS, ""))
        named = os.environ.get(_NAMED)
        try:
            core = import_module("keyring.core")
            if named is not None:
                return cls(cast("_Backend", core.load_keyring(_checked(named))))
            for module, name in _OF_THE_SYSTEM.items():
                kind = getattr(import_module(module), name)
                if kind.viable:
                    return cls(cast("_Backend", kind()))
        except ModuleNotFoundError:
            raise _unusable(
                f"{named or 'the library keyring'} is not installed",
                "pip install 'xmpp-onion[keyring]'",
            ) from None
        except StoreKeyError:
            raise
        except Exception as error:  # noqa: BLE001 - those of any backend's own
            raise _unusable(type(error).__name__, "Try it: keyring diagnose") from None
        raise _unusable("no keyring of the system answers", _OTHERWISE)

    @classmethod
    def look_up(cls, folder: Path) -> Secret | None:
        """Return what the keyring has for the account in ``folder``, if anything.

        Where it cannot be asked, that is logged: the passphrase may be typed.
        """
        try:
            return cls.open().get(folder)
        except StoreKeyError as error:
            log.debug("no keyring is asked: %s", error.why)
            return None

    def get(self, folder: Path) -> Secret | None:
        """Return the passphrase of the account in ``folder``; None if it has none.

        Raises:
            StoreKeyError: It could not be asked: locked, or nobody unlocked it.
        """
        try:
            text = self._backend.get_password(_SERVICE, _place(folder))
        except Exception as error:  # noqa: BLE001 - those of any backend's own
            raise _unanswered(error) from None
        return None if text is None else Secret.passphrase(text)

    def put(self, folder: Path, secret: Secret) -> None:
        """Keep the passphrase of the account in ``folder``, in the place of another.

        Raises:
            StoreKeyError: It did not take it, or it is a key and no text.
        """
        text = secret.reveal()
        try:
            self._backend.set_password(_SERVICE, _place(folder), text)
        except Exception as error:  # noqa: BLE001 - those of any backend's own
            raise _unanswered(error) from None

    def remove(self, folder: Path) -> bool:
        """Forget the passphrase of the account in ``folder``; whether there was one.

        Raises:
            StoreKeyError: It could not be asked.
        """
        if self.get(folder) is None:
            return False
        try:
            self._backend.delete_password(_SERVICE, _place(folder))
        except Exception as error:  # noqa: BLE001 - those of any backend's own
            raise _unanswered(error) from None
        return True


def _check_bus(address: str) -> None:
    """Refuse a desktop that would be asked over a network, and so beside Tor."""
    parts = [part for part in address.split(";") if part]
    if not all(part.startswith(_LOCAL_BUSES) for part in parts):
        raise _unusable(f"${_BUS} names no socket of this machine", _OTHERWISE)


def _checked(name: str) -> str:
    if name.startswith(_NEVER) or "plaintext" in name.lower():
        raise _unusable(f"{name} keeps nothing, or for everybody to read", _OTHERWISE)
    return name


def _place(folder: Path) -> str:
    return str(folder.absolute())


def _unusable(why: str, fix: str) -> StoreKeyError:
    return StoreKeyError("there is no keyring to use", why=why, fix=fix)


def _unanswered(error: Exception) -> StoreKeyError:
    # Its text is not ours, and may hold anything.
    return StoreKeyError(
        "the keyring did not do it",
        why=type(error).__name__,
        fix=_OTHERWISE,
    )
