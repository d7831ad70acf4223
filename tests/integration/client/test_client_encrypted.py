"""Accounts that are encrypted at rest, in real use: nothing of it is on the disk."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Secret
from xmpp_onion.agent.profile import change_secret, encrypt_account, load_account
from xmpp_onion.errors import StoreError, StoreKeyError, StoreLockedError
from xmpp_onion.seal import Kind
from xmpp_onion.store import Database
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

SECRET = Secret.passphrase("correct horse battery staple")
OTHER = Secret.passphrase("another passphrase")
CANARY = "plaintext-canary-4711"


def everything(folder: Path) -> bytes:
    """Return what stands in any file of an account."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"account.toml", "store.sqlite3"} <= {path.name for path in files}
    return b"\n".join(path.read_bytes() for path in files)


async def secrets_in(account: Account, store: Path) -> set[str]:
    """Return every text of a store that is long enough to be no accident."""
    texts = {account.password, account.jid, account.jid.domain, account.certificate}
    async with Database.open(store, key=account.store_key, create=False) as database:
        for table in ("keys", "outbox", "inbox", "seen", "jobs"):
            for row in await database.fetch(f"SELECT * FROM {table}"):  # noqa: S608 - ours
                texts |= {str(value) for value in tuple(row)}
    return {text for text in texts if len(text) >= 12}


async def test_what_two_people_say_leaves_no_trace_on_the_disk(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account = (await enrol("alice")).encrypted(SECRET)
    account.save()
    running, waiting = tmp_path / "running", tmp_path / "waiting"
    async with Client(await enrol("bob"), tor=wire) as bob:
        async with Client(account, tor=wire) as alice:
            await alice.send(bob.jid, f"{CANARY} out")
            message = await anext(bob.messages())
            await message.reply(f"{CANARY} in")
            assert (await anext(alice.messages())).text == f"{CANARY} in"
            shutil.copytree(account.folder, running)  # as a thief would find it
        await bob.send(account.jid, f"{CANARY} later")
        async with Client(account, tor=wire) as alice:
            # Not asked for: it stays in the inbox, for the next start.
            while not await alice._inbox.pending():
                await alice._clerk.news.wait()
        shutil.copytree(account.folder, waiting)

    read: set[str] = set()
    for folder in (running, waiting):
        secrets = await secrets_in(account, folder / "store.sqlite3")
        assert len(secrets) > 30  # the keys of a device
        read |= secrets
        raw = everything(folder)
        assert {text for text in secrets if text.encode() in raw} == set()
        assert b"SQLite format 3" not in raw
        assert CANARY.encode() not in raw
        assert b"alice" not in raw
        assert b"bob" not in raw
    assert any(CANARY in text for text in read)


async def test_an_account_in_use_is_encrypted_and_goes_on_as_it_was(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    data = account.folder.parent
    async with Client(await enrol("bob"), tor=wire) as bob:
        messages = bob.messages()
        async with Client(account, tor=wire) as alice:
            fingerprint = alice.fingerprint
            await alice.send(bob.jid, "in the clear at rest")
            first = await anext(messages)
            with pytest.raises(StoreLockedError):
                await encrypt_account(account, SECRET)
        assert account.password.encode() in everything(account.folder)
        before = await secrets_in(account, account.store_path)

        await encrypt_account(account, SECRET)
        raw = everything(account.folder)
        assert {text for text in before if text.encode() in raw} == set()

        opened = load_account("alice", data, secret=SECRET)
        async with Client(opened, tor=wire) as alice:
            assert alice.fingerprint == fingerprint
            await alice.send(bob.jid, "encrypted at rest")
            second = await anext(messages)

        change_secret(opened, OTHER)
        with pytest.raises(StoreKeyError):
            load_account("alice", data, secret=SECRET)
        opened = load_account("alice", data, secret=OTHER)
        async with Client(opened, tor=wire) as alice:
            await alice.send(bob.jid, "with another passphrase")
            third = await anext(messages)

    assert [first.text, second.text, third.text] == [
        "in the clear at rest",
        "encrypted at rest",
        "with another passphrase",
    ]
    assert first.device == second.device == third.device


async def test_files_that_do_not_belong_together_never_become_a_new_device(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire):
        pass
    plain = account.store_path.read_bytes()
    sealed = await encrypt_account(account, SECRET)
    encrypted = account.store_path.read_bytes()
    stranger = account.encrypted(SECRET)  # the same passphrase, another key

    for who, content in ((sealed, plain), (stranger, encrypted), (account, encrypted)):
        account.store_path.write_bytes(content)
        with pytest.raises(StoreError, match="left as it is"):
            async with Client(who, tor=wire):
                pass
        assert account.store_path.read_bytes() == content


async def test_a_key_file_opens_an_account_by_the_environment(
    enrol: Enrol,
    wire: LoopbackDialer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(bytes(range(32)))
    account = (await enrol("alice")).encrypted(Secret.read(Kind.KEY_FILE, path))
    account.save()
    data = account.folder.parent
    with pytest.raises(StoreKeyError, match="XMPP_ONION_KEY_FILE"):
        load_account("alice", data)

    monkeypatch.setenv("XMPP_ONION_KEY_FILE", str(path))
    async with Client(load_account("alice", data), tor=wire) as alice:
        assert len(alice.fingerprint) == 64
