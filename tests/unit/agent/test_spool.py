"""Texts that wait for a login: kept in order, private, whole, and not without end."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.agent import spool as spool_module
from xmpp_onion.agent.profile import encrypt_account
from xmpp_onion.agent.spool import Spool, Spooled
from xmpp_onion.errors import StoreError
from xmpp_onion.seal import Kind, Secret

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
BOB = JID(f"bob@{ONION}")
SECRET = Secret(Kind.KEY_FILE, bytes(32))  # a passphrase takes its time


@pytest.fixture
def account(tmp_path: Path) -> Account:
    made = Account(
        profile="ops", folder=tmp_path / "data" / "ops", jid=JID(f"ops@{ONION}"),
        password="x",
    )  # fmt: skip
    made.save()
    return made


def texts(account: Account) -> list[str]:
    return [waiting.text for _, waiting in Spool(account).all()]


def files(account: Account) -> list[Path]:
    return sorted((account.folder / "spool").iterdir())


def test_what_is_kept_is_there_in_its_order_until_it_is_removed(
    account: Account,
) -> None:
    spool = Spool(account)
    kept = [spool.put(BOB, f"alert {n}\nä", timedelta(hours=n)) for n in range(3)]

    found = dict(Spool(account).all())
    assert list(found.values()) == [replace(kept[0], expires=timedelta()), *kept[1:]]
    for name in found:
        spool.remove(name)
        spool.remove(name)
    assert texts(account) == []


def test_a_file_is_private_and_whole(account: Account) -> None:
    Spool(account).put(BOB, "canary")

    (path,) = files(account)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_of_an_encrypted_account_nothing_can_be_read(account: Account) -> None:
    sealed = account.encrypted(SECRET)
    sealed.save()
    Spool(sealed).put(BOB, "canary")

    (path,) = files(account)
    assert b"canary" not in path.read_bytes()
    assert b"bob" not in path.read_bytes()
    assert texts(sealed) == ["canary"]


async def test_what_waits_is_encrypted_with_its_account(account: Account) -> None:
    Spool(account).put(BOB, "canary")
    sealed = await encrypt_account(account, SECRET)

    (path,) = files(account)
    assert b"canary" not in path.read_bytes()
    assert texts(sealed) == ["canary"]


@pytest.mark.parametrize(
    "junk",
    [b"", b"{}", b"[]", b"\xff", b'{"sealed": "AAAA"}',
     b'{"to": "bob@example.org", "text": "x", "expires": null}',
     b'{"to": 1, "text": "x", "expires": null}'],
)  # fmt: skip
def test_what_cannot_be_read_holds_up_nothing(account: Account, junk: bytes) -> None:
    spool = Spool(account)
    spool.put(BOB, "first")
    files(account)[0].write_bytes(junk)
    spool.put(BOB, "second")

    assert texts(account) == ["second"]
    assert len(files(account)) == 2


def test_a_draft_of_who_was_killed_is_nothing(account: Account) -> None:
    Spool(account).put(BOB, "one")
    (account.folder / "spool" / "x.new").touch(mode=0o600)

    assert texts(account) == ["one"]


def test_no_more_waits_than_somebody_looks_after(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SPOOL_LIMIT", 2)
    for _ in range(2):
        Spool(account).put(BOB, "x")
    with pytest.raises(StoreError, match="the text was not kept") as refused:
        Spool(account).put(BOB, "x")

    assert "agent status" in refused.value.fix
    assert len(files(account)) == 2


def test_the_time_that_it_may_be_kept_goes_on_while_it_waits() -> None:
    hour = 3600 * 1_000_000_000
    waiting = Spooled("id", BOB, "x", timedelta(hours=2), at=hour)

    assert waiting.remaining(2 * hour) == timedelta(hours=1)
    assert waiting.remaining(9 * hour) == timedelta()
    assert replace(waiting, expires=None).remaining(9 * hour) is None


def test_an_account_that_keeps_nothing_has_no_folder(account: Account) -> None:
    assert texts(account) == []
    assert not (account.folder / "spool").exists()
