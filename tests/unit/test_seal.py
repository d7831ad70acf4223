"""The way from a passphrase or key file to the keys: what fits, what does not."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from xmpp_onion import seal as module
from xmpp_onion.errors import StoreKeyError, StorePermissionError
from xmpp_onion.seal import Kind, Seal, Secret

PASSPHRASE = Secret.passphrase("correct horse battery staple")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(bytes(range(32)))
    return path


@pytest.fixture(scope="module")
def seal() -> Seal:
    return Seal.make(PASSPHRASE)


def test_what_was_sealed_opens_with_the_same_secret(seal: Seal) -> None:
    opened = Seal.open(seal.values(), PASSPHRASE)

    assert opened == seal
    assert opened.store_key == seal.store_key
    assert opened.decrypt(seal.encrypt("bob \N{SNOWMAN}")) == "bob \N{SNOWMAN}"


@pytest.mark.parametrize("text", ["correct horse battery stapl", "x", "Correct", "\0"])
def test_another_passphrase_is_refused(seal: Seal, text: str) -> None:
    with pytest.raises(StoreKeyError, match="the passphrase is wrong") as caught:
        Seal.open(seal.values(), Secret.passphrase(text))

    assert caught.value.exit_code == 7
    assert text not in repr(caught.value) or len(text) == 1


def test_a_key_file_opens_what_it_sealed_and_another_does_not(key_file: Path) -> None:
    secret = Secret.read(Kind.KEY_FILE, key_file)
    made = Seal.make(secret)
    key_file.write_bytes(bytes(32))

    assert Seal.open(made.values(), secret) == made
    with pytest.raises(StoreKeyError, match="the key-file is wrong"):
        Seal.open(made.values(), Secret.read(Kind.KEY_FILE, key_file))


def test_a_secret_of_the_other_kind_says_which_is_needed(
    seal: Seal, key_file: Path
) -> None:
    with pytest.raises(StoreKeyError, match="--passphrase-file") as caught:
        Seal.open(seal.values(), Secret.read(Kind.KEY_FILE, key_file))

    assert "XMPP_ONION_PASSPHRASE_FILE" in caught.value.fix


def test_another_secret_keeps_the_key_and_shuts_out_the_first(seal: Seal) -> None:
    other = Secret.passphrase("other")

    changed = Seal.open(seal.change(other).values(), other)

    assert changed.store_key == seal.store_key
    with pytest.raises(StoreKeyError):
        Seal.open(changed.values(), PASSPHRASE)


def test_the_passphrase_goes_through_argon2id_as_rfc_9106_advises(seal: Seal) -> None:
    values = seal.values()

    assert (values["memory_kib"], values["passes"], values["lanes"]) == (65536, 3, 4)
    header = module._Header.parse(values)
    assert PASSPHRASE.derive(header) == Argon2id(
        salt=header.salt, length=32, iterations=3, lanes=4, memory_cost=65536
    ).derive(b"correct horse battery staple")
    assert len(header.salt) == 16


def test_two_accounts_of_one_passphrase_have_nothing_in_common(seal: Seal) -> None:
    other = Seal.make(PASSPHRASE)

    assert other.store_key != seal.store_key
    assert other.values()["salt"] != seal.values()["salt"]
    assert other.values()["wrapped"] != seal.values()["wrapped"]


def test_the_key_of_the_file_is_not_that_of_the_account(seal: Seal) -> None:
    keys = {seal.store_key, seal._key, module._expand(seal._key, b"xmpp-onion account")}

    assert len(keys) == 3


def test_a_text_is_encrypted_anew_each_time(seal: Seal) -> None:
    assert seal.encrypt("bob") != seal.encrypt("bob")


def test_a_changed_text_is_noticed(seal: Seal) -> None:
    data = seal.encrypt("bob")
    changed = ("B" if data[20] != "B" else "C").join([data[:20], data[21:]])

    with pytest.raises(ValueError, match="changed"):
        seal.decrypt(changed)


def test_no_secret_is_in_a_repr(seal: Seal) -> None:
    shown = repr(seal) + repr(PASSPHRASE)

    assert "horse" not in shown
    for key in (seal.store_key, seal._key):
        assert repr(key) not in shown
        assert key.hex() not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_kib", 1 << 30),
        ("memory_kib", 0),
        ("memory_kib", 16),
        ("memory_kib", "65536"),
        ("passes", 65),
        ("passes", 0),
        ("lanes", 65),
        ("salt", "c2hvcnQ="),
        ("salt", "no base64"),
        ("kind", "fingerprint"),
        ("wrapped", "no base64"),
    ],
)
def test_a_header_that_is_none_is_refused_before_any_work(
    seal: Seal, name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=re.compile(".")):
        Seal.open({**seal.values(), name: value}, PASSPHRASE)


@pytest.mark.parametrize("name", ["kind", "salt", "memory_kib", "wrapped"])
def test_a_header_that_lacks_something_is_refused(seal: Seal, name: str) -> None:
    values = {key: value for key, value in seal.values().items() if key != name}

    with pytest.raises(KeyError):
        Seal.open(values, PASSPHRASE)


def test_a_passphrase_in_a_file_is_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    for text in ("sw\N{LATIN SMALL LETTER O WITH DIAERESIS}rd fish ", "\ttab"):
        for end in ("", "\n", "\r\n", "\nmore\n"):
            path.write_text(text + end, encoding="utf-8", newline="")
            assert Secret.read(Kind.PASSPHRASE, path) == Secret.passphrase(text)


@pytest.mark.parametrize("text", ["", "\n", "x" * 5000])
def test_what_cannot_be_a_passphrase_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(StoreKeyError, match="cannot be a passphrase"):
        Secret.read(Kind.PASSPHRASE, path)


@pytest.mark.parametrize("size", [0, 31, 65 * 1024])
def test_what_cannot_be_a_key_file_is_refused_with_the_line_that_makes_one(
    key_file: Path, size: int
) -> None:
    key_file.write_bytes(bytes(size))

    with pytest.raises(StoreKeyError, match="/dev/urandom"):
        Secret.read(Kind.KEY_FILE, key_file)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_file_that_others_can_read_is_refused(key_file: Path, kind: Kind) -> None:
    key_file.chmod(0o640)

    with pytest.raises(StorePermissionError, match="chmod 600"):
        Secret.read(kind, key_file)
    assert Secret.read(Kind.KEY_FILE, key_file, is_trusted_place=True).kind


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreKeyError, match="no such file"):
        Secret.read(Kind.KEY_FILE, tmp_path / "none")
