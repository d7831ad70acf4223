"""The bare OMEMO libraries fall into their traps; ours beside it: see traps.md.

If a new version of a library mends one, its test fails and says what can go.
"""

import asyncio
import logging
from xml.etree import ElementTree as ET

import oldmemo.etree
import oldmemo.oldmemo
import omemo
import pytest
import twomemo.etree
import x3dh
from bare_omemo import (
    ALICE,
    BOB,
    NEW,
    OLD,
    BareServer,
    BareStorage,
    KilledError,
    bare_accounts,
    bare_encrypt,
)
from slixmpp import ClientXMPP
from slixmpp.stanza import Message
from slixmpp_omemo import XEP_0384
from trap import falls, still_there

CANARY = "canary-4711"
# RFC 7748, section 6.1 and https://cr.yp.to/ecdh.html#validate: points of low order.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
]


# --- T1, T2, T3: what is on the disk, and when --------------------------------------


async def test_t1_a_message_is_lost_when_the_upload_behind_it_fails() -> None:
    async with bare_accounts() as (server, alice, bob):
        message = await bare_encrypt(alice, BOB, "lost")
        server.is_down = True
        with falls(omemo.BundleUploadFailed, "e2ee/session_manager.py, effects"):
            await bob.decrypt(message)
        server.is_down = False

        with falls(omemo.DecryptionFailed, "e2ee/session_manager.py, effects"):
            await bob.decrypt(message)


async def test_t2_a_kill_between_two_writes_loses_a_first_message() -> None:
    server = BareServer()
    async with server.stack:
        alice, storage = await server.log_in(ALICE), BareStorage()
        await (await server.log_in(BOB, storage)).refresh_device_list(OLD, ALICE)
        await alice.refresh_device_list(OLD, BOB)
        message = await bare_encrypt(alice, BOB, "perhaps lost")
        lost = cuts = 0
        is_whole = False
        while not is_whole:
            torn = BareStorage(storage.values)
            bob = await server.log_in(BOB, torn)
            torn.kill_after = torn.stores + cuts
            try:
                await bob.decrypt(message)
                is_whole = True
            except KilledError:
                torn.kill_after = None
                try:  # what the server sends again after the restart
                    await (await server.log_in(BOB, torn)).decrypt(message)
                except (omemo.OMEMOException, Exception):  # noqa: BLE001 - it ends in several ways
                    lost += 1
            cuts += 1

    still_there(cuts > 10, "store/keys.py: it gathers the writes of one operation")
    still_there(lost > 0, "store/database.py: one transaction for each message")


async def test_t3_restoring_an_old_store_makes_the_next_message_unreadable() -> None:
    server, storage = BareServer(), BareStorage()
    async with server.stack:
        alice, bob = await server.log_in(ALICE, storage), await server.log_in(BOB)
        await alice.refresh_device_list(OLD, BOB)
        await bob.refresh_device_list(OLD, ALICE)
        await bob.decrypt(await bare_encrypt(alice, BOB, "hello"))
        await alice.decrypt(await bare_encrypt(bob, ALICE, "hello yourself"))
        backup = dict(storage.values)
        await bob.decrypt(await bare_encrypt(alice, BOB, "after the backup"))
        storage.values = backup

        message = await bare_encrypt(alice, BOB, "lost")  # and nothing says so
        with falls(omemo.DecryptionFailed, "store: the generation of a file"):
            await bob.decrypt(message)


# --- T4: devices that are listed and not there --------------------------------------


async def test_t4_each_message_asks_for_all_devices_that_are_not_there() -> None:
    async with bare_accounts() as (server, alice, _):
        ghosts = range(10**6, 10**6 + 100)
        listed = {**server.lists[OLD, BOB], **dict.fromkeys(ghosts)}
        await alice.update_device_list(OLD, BOB, listed)
        asked = []
        for text in ("one", "two"):
            server.downloads.clear()
            await bare_encrypt(alice, BOB, text)
            asked.append(len(set(server.downloads) & set(ghosts)))

    still_there(asked == [100, 100], "e2ee/directory.py: the caps and the pauses")


# --- T15: a namespace that is announced and not understood --------------------------


def bare_plugin(jid: str, manager: omemo.SessionManager) -> XEP_0384:
    """Return slixmpp-omemo's plugin over a session manager of a test."""

    class Plugin(XEP_0384):
        @property
        def storage(self) -> BareStorage:
            raise AssertionError("the session manager is there already")

        @property
        def _btbv_enabled(self) -> bool:
            return False

        async def _prompt_manual_trust(
            self, manually_trusted: object, identifier: str | None
        ) -> None: ...

        async def get_session_manager(self) -> omemo.SessionManager:
            return manager

    return Plugin(ClientXMPP(jid, "secret"))


def stanza(sender: str, *children: ET.Element) -> Message:
    message = ClientXMPP(BOB, "").make_message(mto=BOB, mfrom=sender, mbody="fallback")
    message.xml.extend(children)
    return message


async def test_t15_a_message_of_omemo_2_is_lost_after_its_ratchet_moved() -> None:
    async with bare_accounts((NEW, OLD)) as (_, alice, bob):
        plugin = bare_plugin(BOB, bob)
        message = await bare_encrypt(alice, BOB, CANARY, NEW)
        element = twomemo.etree.serialize_message(message)

        with pytest.raises(NotImplementedError, match=CANARY):  # and tells the text
            await plugin.decrypt_message(stanza(ALICE, element))
        with falls(omemo.DecryptionFailed, "e2ee/envelope.py: our own envelope"):
            await plugin.decrypt_message(stanza(ALICE, element))


# --- T16, T17: what comes out beside the text ---------------------------------------


async def test_t16_the_logs_have_the_text(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("omemo", "oldmemo", "doubleratchet", "x3dh"):
        caplog.set_level(logging.DEBUG, name)
    async with bare_accounts() as (_, alice, bob):
        await bob.decrypt(await bare_encrypt(alice, BOB, CANARY))

    still_there(CANARY in caplog.text, "e2ee/omemo.py: quiet_libraries()")


async def test_t17_what_was_never_encrypted_stays_beside_the_text() -> None:
    async with bare_accounts() as (_, alice, bob):
        element = oldmemo.etree.serialize_message(
            await bare_encrypt(alice, BOB, "hello")
        )
        came = stanza(ALICE, element)
        came["body|de"] = "von jemand anderem"
        ET.SubElement(came.xml, "{jabber:x:oob}x")
        decrypted, _ = await bare_plugin(BOB, bob).decrypt_message(came)

    assert decrypted["body"] == "hello"
    still_there(
        decrypted["body|de"] == "von jemand anderem"
        and decrypted.xml.find("{jabber:x:oob}x") is not None,
        "clerk.py: a new message from what was encrypted",
    )


# --- T22, T24: keys -----------------------------------------------------------------


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point[:2].hex())
@pytest.mark.parametrize("what", ["identity_key", "signed_pre_key"])
async def test_t22_points_of_low_order_are_refused(what: str, point: bytes) -> None:
    async with bare_accounts() as (server, alice, _):
        ((key, bundle),) = ((k, b) for k, b in server.bundles.items() if k[1] == BOB)
        assert isinstance(bundle, oldmemo.oldmemo.BundleImpl)
        server.bundles[key] = oldmemo.oldmemo.BundleImpl(
            BOB,
            bundle.device_id,
            bundle.bundle._replace(**{what: point}),
            bundle.signed_pre_key_id,
            bundle.pre_key_ids,
        )

        with pytest.raises((omemo.OMEMOException, x3dh.KeyAgreementException)):
            await bare_encrypt(alice, BOB, "hello")


async def test_t24_whoever_copies_a_bundle_is_believed() -> None:
    mallory = "mallory@example.onion"
    async with bare_accounts() as (server, alice, bob):
        message = await bare_encrypt(alice, BOB, "I, Alice, agree")
        (number,) = server.lists[OLD, ALICE]
        bundle = server.bundles[OLD, ALICE, number]
        assert isinstance(bundle, oldmemo.oldmemo.BundleImpl)
        server.lists[OLD, mallory] = {number: None}
        server.bundles[OLD, mallory, number] = oldmemo.oldmemo.BundleImpl(
            mallory,
            number,
            bundle.bundle,
            bundle.signed_pre_key_id,
            bundle.pre_key_ids,
        )
        plaintext, device, _ = await bob.decrypt(message._replace(bare_jid=mallory))

    still_there(
        (plaintext, device.bare_jid) == (b"I, Alice, agree", mallory),
        "e2ee/session_manager.py: a key belongs to one account",
    )


# --- T28: what a careful bot loses --------------------------------------------------


async def test_t28_messages_that_are_sent_at_once_are_lost() -> None:
    async with bare_accounts() as (_, alice, bob):
        await bob.decrypt(await bare_encrypt(alice, BOB, "hello"))
        sent = await asyncio.gather(
            *(bare_encrypt(alice, BOB, str(number)) for number in range(10))
        )
        lost = 0
        for message in sent:
            try:
                await bob.decrypt(message)
            except omemo.DecryptionFailed:
                lost += 1

    still_there(lost > 0, "store/database.py: one transaction after the other")


async def test_t28_two_who_write_first_at_once_never_understand_each_other() -> None:
    async with bare_accounts() as (_, alice, bob):
        to_bob = await bare_encrypt(alice, BOB, "hello")
        to_alice = await bare_encrypt(bob, ALICE, "hello")
        await bob.decrypt(to_bob)
        await alice.decrypt(to_alice)

        with falls(omemo.DecryptionFailed, "e2ee/lasting.py: sessions are kept"):
            await bob.decrypt(await bare_encrypt(alice, BOB, "lost"))
        with falls(omemo.DecryptionFailed, "e2ee/lasting.py: sessions are kept"):
            await alice.decrypt(await bare_encrypt(bob, ALICE, "lost"))
