"""The keyring library with a backend in memory; the ones that are refused."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from xmpp_onion.agent.keychain import Keychain
from xmpp_onion.agent.profile import find_secret
from xmpp_onion.errors import StoreKeyError
from xmpp_onion.seal import Kind, Secret

SECRET = Secret.passphrase("correct horse battery staple")


class Remembering(KeyringBackend):
    """A keyring of the library's own kind, without a file."""

    kept: ClassVar[dict[tuple[str, str], str]] = {}
    locked: ClassVar[bool] = False
    priority = 1.0

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("canary of the backend")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise KeyringLocked("canary of the backend")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    """A keyring that the person named."""
    module = ModuleType("remembering")
    monkeypatch.setattr(module, "Remembering", Remembering, raising=False)
    monkeypatch.setitem(sys.modules, "remembering", module)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "remembering.Remembering")
    monkeypatch.setattr(Remembering, "kept", {})
    return Remembering


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "XMPP_ONION_PASSPHRASE_FILE", "XMPP_ONION_PASSPHRASE_COMMAND",
        "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def test_a_passphrase_is_kept_found_and_forgotten(
    backend: type[Remembering], tmp_path: Path
) -> None:
    keychain = Keychain.open()
    keychain.put(tmp_path, SECRET)

    assert find_secret(Kind.PASSPHRASE, tmp_path) == SECRET
    assert find_secret(Kind.PASSPHRASE, tmp_path / "other") is None
    assert find_secret(Kind.KEY_FILE, tmp_path) is None
    assert find_secret(Kind.PASSPHRASE) is None
    assert list(backend.kept) == [("xmpp-onion", str(tmp_path))]

    assert keychain.remove(tmp_path)
    assert not keychain.remove(tmp_path)
    assert find_secret(Kind.PASSPHRASE, tmp_path) is None


@pytest.mark.usefixtures("backend")
def test_what_was_given_counts_more_than_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Keychain.open().put(tmp_path, SECRET)
    (tmp_path / "store-passphrase").write_text("of systemd")

    monkeypatch.setenv("XMPP_ONION_PASSPHRASE_COMMAND", '["echo", "of a program"]')
    of_a_program = find_secret(Kind.PASSPHRASE, tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    of_systemd = find_secret(Kind.PASSPHRASE, tmp_path)

    assert of_a_program == Secret.passphrase("of a program")
    assert of_systemd == Secret.passphrase("of systemd")


def test_a_locked_keyring_is_an_error_of_ours_and_stops_no_question(
    backend: type[Remembering],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "locked", True)

    with pytest.raises(StoreKeyError, match="KeyringLocked") as caught:
        Keychain.open().put(tmp_path, SECRET)

    assert "canary" not in str(caught.value)
    assert find_secret(Kind.PASSPHRASE, tmp_path) is None


@pytest.mark.parametrize(
    "name",
    [
        "keyring.backends.null.Keyring",
        "keyring.backends.fail.Keyring",
        "keyrings.alt.file.PlaintextKeyring",
        "keyrings.alt.file.EncryptedKeyring",
        "somebody.PlainTextStore",
    ],
)
def test_a_keyring_that_keeps_nothing_or_in_the_clear_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name)

    with pytest.raises(StoreKeyError, match="keeps nothing, or for everybody"):
        Keychain.open()
    assert find_secret(Kind.PASSPHRASE, tmp_path) is None


def test_one_that_is_installed_and_was_not_named_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = importlib.import_module("keyring.backend")
    core = importlib.import_module("keyring.core")
    monkeypatch.setattr(backend, "get_all_keyring", lambda: [Remembering()])
    monkeypatch.setattr(core, "_keyring_backend", Remembering())

    with pytest.raises(StoreKeyError, match="no keyring of the system answers"):
        Keychain.open()


@pytest.mark.parametrize(
    "address", ["tcp:host=10.0.0.1,port=1", "unix:path=/x;tcp:host=a,port=1"]
)
@pytest.mark.usefixtures("backend")
def test_no_keyring_is_asked_over_a_network(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)

    with pytest.raises(StoreKeyError, match="no socket of this machine"):
        Keychain.open()


def test_without_the_library_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "keyring.core", None)

    with pytest.raises(StoreKeyError, match="not installed") as caught:
        Keychain.open()

    assert "xmpp-onion[keyring]" in caught.value.fix
    assert find_secret(Kind.PASSPHRASE, tmp_path) is None


@pytest.mark.usefixtures("backend")
def test_a_key_or_what_is_no_text_is_not_kept(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(32))

    for secret in (Secret.read(Kind.KEY_FILE, key), Secret.passphrase("\udcff")):
        with pytest.raises(StoreKeyError, match="no text"):
            Keychain.open().put(tmp_path, secret)
