"""Verify by URI, policies, decisions as text: as clients do it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from oldmemo import oldmemo
from twomemo import twomemo

from xmpp_onion import JID, Account, Client, NewDevice, Trust, TrustLevel
from xmpp_onion.agent.requests import perform
from xmpp_onion.chat import Line
from xmpp_onion.e2ee import NAMESPACES, SlixmppPep
from xmpp_onion.errors import (
    AddressError,
    FingerprintMismatchError,
    NoDevicesError,
    UndecidedDevicesError,
)
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

OLD = "eu.siacs.conversations.axolotl"
VERIFIED = TrustLevel.TRUSTED


async def ask(client: Client, **request: object) -> list[Line]:
    return await perform(client, request)


async def active_devices(client: Client, owner: JID) -> list[int]:
    """Return what is published of somebody, as far as the client was told."""
    return [d.device_id for d in await client.devices(owner) if d.active]


async def test_a_scanned_uri_verifies_exactly_what_it_names(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice", Trust.MANUAL), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        (shown,) = await ask(bob, do="own-uri")
        (line,) = await ask(alice, do="verify-uri", uri=str(shown["uri"]))

        assert shown["uri"] == (
            f"xmpp:{bob.jid}?omemo-sid-{line['device']}={bob.fingerprint}"
        )
        assert (line["jid"], line["trust"]) == (bob.jid, "verified")
        await alice.send(bob.jid, "hi")


async def test_a_uri_that_contradicts_what_was_verified_changes_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("carol"), tor=wire) as carol,
    ):
        device = await alice.verify(bob.jid, bob.fingerprint)
        await alice.verify(carol.jid, carol.fingerprint)
        number = device.device_id
        start = f"xmpp:{bob.jid}?omemo-sid-"
        forged = [
            f"{start}{number}={carol.fingerprint}",
            f"{start}{number}={'ab' * 32}",
            f"{start}{number + 1}={bob.fingerprint}",
            f"{start}7={carol.fingerprint};omemo-sid-{number}={bob.fingerprint}",
        ]

        for uri in forged:
            with pytest.raises(FingerprintMismatchError, match="ALARM"):
                await alice.verify_uri(uri)
        (after,) = await alice.devices(bob.jid)
        assert (after.fingerprint, after.trust) == (bob.fingerprint, VERIFIED)

        await alice.distrust(bob.jid, bob.fingerprint)
        with pytest.raises(FingerprintMismatchError, match="distrusted before"):
            await alice.verify_uri(f"{start}{number}={bob.fingerprint}")
        with pytest.raises(AddressError):
            await alice.verify_uri(f"xmpp:{bob.jid}")


@pytest.mark.parametrize("how", ["verify", "verify-uri"])
async def test_a_key_that_a_stranger_copied_first_goes_to_whom_a_person_says(
    enrol: Enrol, wire: LoopbackDialer, how: str
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("mallory"), tor=wire) as mallory,
    ):
        pep, number = SlixmppPep(mallory._session.xmpp), bob._omemo.device_id
        for namespace in NAMESPACES:
            bundle = await pep.fetch_bundle(namespace, bob.jid, number)
            assert isinstance(bundle, oldmemo.BundleImpl | twomemo.BundleImpl)
            await pep.publish_bundle(
                type(bundle)(
                    mallory.jid,
                    number,
                    bundle.bundle,
                    bundle.signed_pre_key_id,
                    bundle.pre_key_ids,
                )
            )
            await pep.publish_device_list(namespace, {number: None})
        (squatter,) = [
            device
            for device in await alice.devices(mallory.jid)
            if device.fingerprint == bob.fingerprint
        ]
        with pytest.raises(NoDevicesError, match="belongs to another account"):
            await alice.send(bob.jid, "not yet")

        uri = f"xmpp:{bob.jid}?omemo-sid-{number}={bob.fingerprint}"
        (line,) = await ask(
            alice, do=how, jid=bob.jid, fingerprint=bob.fingerprint, uri=uri
        )
        await alice.send(bob.jid, "hello")
        async with asyncio.timeout(30):
            message = await anext(bob.messages())

        assert (line["jid"], line["trust"]) == (bob.jid, "verified")
        assert message.text == "hello"
        assert squatter.jid == mallory.jid
        left = {device.fingerprint for device in await alice.devices(mallory.jid)}
        assert bob.fingerprint not in left


async def test_a_device_that_is_not_published_yet_is_verified_when_it_appears(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = (
        await enrol("alice", Trust.MANUAL),
        await enrol("bob", Trust.MANUAL),
    )
    async with Client(alice_account, tor=wire) as alice:
        uri, fingerprint = str(await alice.notary.own_uri()), alice.fingerprint
    async with Client(bob_account, tor=wire) as bob:
        other = f"xmpp:{alice_account.jid}?omemo-sid-7={'ab' * 32}"
        (unknown,) = await bob.verify_uri(other)
        assert (unknown.trust, unknown.active) == (VERIFIED, False)
        text = f"{alice_account.jid} {fingerprint} verified"
        (change,) = await bob.notary.import_text(text)
        assert change.before is TrustLevel.UNDECIDED
        (known,) = await bob.devices(alice_account.jid)
        assert (known.fingerprint, known.trust) == (fingerprint, VERIFIED)
        assert str(known.device_id) in uri


async def test_automatic_trust_is_switched_at_once_and_kept(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        assert alice._omemo.keyring._vouching.is_on
        (line,) = await ask(alice, do="automatic-trust", on=False)
        assert not alice._omemo.keyring._vouching.is_on
        account = alice.account

    assert (line["event"], line["on"]) == ("automatic-trust", False)
    assert not Account.load("alice", account.folder.parent).automatic_trust


async def test_a_contact_may_have_a_policy_of_its_own(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        (line,) = await ask(alice, do="policy", jid=bob.jid, policy="manual")
        assert (line["policy"], line["default"]) == ("manual", False)
        with pytest.raises(UndecidedDevicesError):
            await alice.send(bob.jid, "hi")
        listed = await ask(alice, do="policies")
        assert [(one["jid"], one["policy"], one["default"]) for one in listed] == [
            (alice.jid, "btbv", True),
            (bob.jid, "manual", False),
        ]

        (line,) = await ask(alice, do="policy", jid=bob.jid, policy="default")
        assert (line["policy"], line["default"]) == ("btbv", True)
        await alice.send(bob.jid, "hi")
        (error,) = await ask(alice, do="policy", jid=alice.jid, policy="tofu")
        assert error["event"] == "error"


async def test_decisions_go_to_another_store_as_text(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("carol"), tor=wire) as carol,
    ):
        await alice.verify(bob.jid, bob.fingerprint)
        await alice.distrust(carol.jid, carol.fingerprint)
        lines = await ask(alice, do="export-trust")
        text = "\n".join(
            f"{line['jid']} {line['fingerprint']} {line['trust']}" for line in lines
        )
        assert text == (
            f"{bob.jid} {bob.fingerprint} verified\n"
            f"{carol.jid} {carol.fingerprint} distrusted"
        )

        shown = await ask(carol, do="import-trust", text=text, yes=False)
        untouched = await carol.devices(bob.jid)
        done = await ask(carol, do="import-trust", text=text, yes=True)
        again = await ask(carol, do="import-trust", text=text, yes=True)

        # Carol's own device in it does not count: it is this one.
        assert [line["jid"] for line in shown] == [bob.jid]
        assert untouched[0].trust is TrustLevel.BLINDLY_TRUSTED
        assert [(line["after"], line["done"]) for line in done] == [("verified", True)]
        assert again == []
        (device,) = await carol.devices(bob.jid)
        assert device.trust is VERIFIED


async def test_decisions_about_keys_that_are_not_known_yet_are_kept_and_exported(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob, digits = f"bob@{(await enrol('carol')).jid.domain}", "1a" * 32
    text = f"{bob} {digits} verified"
    async with Client(await enrol("alice"), tor=wire) as alice:
        done = await ask(alice, do="import-trust", text=text, yes=True)
        again = await ask(alice, do="import-trust", text=text, yes=True)
        exported = await ask(alice, do="export-trust")

    assert [(line["before"], line["after"]) for line in done] == [
        ("undecided", "verified")
    ]
    assert again == []
    assert [(line["jid"], line["fingerprint"]) for line in exported] == [(bob, digits)]


async def test_a_name_is_kept_although_the_next_login_comes_before_it_is_published(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice, alice._database.transaction():
        await alice._omemo.set_label("laptop")
        alice._omemo.take_effects()  # nothing was published
    async with Client(account, tor=wire) as alice:
        (device,) = await alice.devices()

    assert device.label == "laptop"


async def test_a_second_device_of_our_own_is_told_and_left_out(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    laptop = Account(
        profile="laptop",
        folder=account.folder.with_name("laptop"),
        jid=account.jid,
        password=account.password,
        certificate=account.certificate,
    )
    laptop.save()
    async with (
        Client(account, tor=wire) as phone,
        Client(laptop, tor=wire) as other,
    ):
        devices = await phone.devices()
        event = await anext(phone.events())

        assert isinstance(event, NewDevice)
        assert (event.own, event.trust) == (True, "undecided")
        assert event.fingerprint == other.fingerprint
        assert {device.trust for device in devices} == {
            VERIFIED,
            TrustLevel.UNDECIDED,
        }
        uri = str(await phone.notary.own_uri())
        assert other.fingerprint not in uri
        await phone.verify(phone.jid, other.fingerprint)
        assert other.fingerprint in str(await phone.notary.own_uri())


def second_device(account: Account) -> Account:
    laptop = Account(
        profile="laptop",
        folder=account.folder.with_name("laptop"),
        jid=account.jid,
        password=account.password,
        certificate=account.certificate,
    )
    laptop.save()
    return laptop


@pytest.mark.parametrize("is_new", [True, False])
async def test_who_asks_when_a_device_was_named_gets_the_name(
    enrol: Enrol, wire: LoopbackDialer, *, is_new: bool
) -> None:
    account = await enrol("alice")
    laptop = second_device(account)
    if not is_new:
        async with Client(laptop, tor=wire):
            pass

    async with Client(laptop, tor=wire) as other:
        (named,) = await ask(other, do="label", label="old laptop")
    async with Client(account, tor=wire) as phone:
        shown = {d.device_id: d.label for d in await phone.devices()}

    assert shown[int(str(named["device"]))] == "old laptop"


async def test_our_devices_have_names_and_can_be_removed(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    laptop = second_device(account)
    async with (
        Client(account, tor=wire) as phone,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        async with Client(laptop, tor=wire) as other:
            (named,) = await ask(other, do="label", label="  old\nlaptop ")
            number = int(str(named["device"]))
            (own,) = [d for d in await phone.devices() if d.device_id != number]
            async with asyncio.timeout(90):
                while await phone._outbox.jobs() or await other._outbox.jobs():  # noqa: ASYNC110 - done by the courier
                    await asyncio.sleep(0.05)
                while {d.label for d in await bob.devices(phone.jid)} == {None}:  # noqa: ASYNC110 - its list travels by itself
                    await asyncio.sleep(0.05)
        shown = {d.device_id: d.label for d in await bob.devices(phone.jid)}
        assert (named["label"], shown[number]) == ("old laptop", "old laptop")

        (kept,) = await ask(phone, do="remove-device", device=own.device_id, yes=False)
        (unknown,) = await ask(phone, do="remove-device", device=1, yes=True)
        (gone,) = await ask(phone, do="remove-device", device=number, yes=False)
        assert kept["event"] == unknown["event"] == "error"
        assert (gone["device"], gone["active"]) == (number, False)
        async with asyncio.timeout(90):
            while await active_devices(bob, phone.jid) != [own.device_id]:  # noqa: ASYNC110 - his server tells bob when it likes
                await asyncio.sleep(0.05)
        (error,) = await ask(phone, do="label", label="x" * 54)
        assert error["event"] == "error"


async def test_this_very_device_goes_with_a_yes_and_comes_back_with_a_login(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire) as bob:
        async with Client(account, tor=wire) as alice:
            (own,) = await alice.devices()
            (gone,) = await ask(
                alice, do="remove-device", device=own.device_id, yes=True
            )
            assert gone["active"] is False
            await alice.devices()  # sees that it is not listed
            async with asyncio.timeout(90):
                while await alice._outbox.jobs():  # noqa: ASYNC110 - done by the courier
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(90):
                while await active_devices(bob, alice.jid):  # noqa: ASYNC110 - his server tells bob when it likes
                    await asyncio.sleep(0.05)

        async with Client(account, tor=wire):
            async with asyncio.timeout(90):
                while not await active_devices(bob, account.jid):  # noqa: ASYNC110 - it publishes itself as a job
                    await asyncio.sleep(0.05)


async def test_a_trust_message_uri_verifies_and_distrusts_what_it_names(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice", Trust.MANUAL), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("carol"), tor=wire) as carol,
    ):
        await alice.verify(carol.jid, carol.fingerprint)
        start = f"xmpp:{bob.jid}?trust-message;encryption={OLD}"
        with pytest.raises(FingerprintMismatchError, match="another account"):
            await alice.verify_uri(f"{start};trust={carol.fingerprint}")

        unknown = "ab" * 32
        uri = f"{start};trust={bob.fingerprint};distrust={unknown}"
        lines = await ask(alice, do="verify-uri", uri=uri)
        await alice.send(bob.jid, "hi")
        exported = {str(entry) for entry in await alice.notary.export()}

    assert [(line["fingerprint"], line["trust"]) for line in lines] == [
        (bob.fingerprint, "verified"),
        (unknown, "distrusted"),
    ]
    assert f"{bob.jid} {unknown} distrusted" in exported
    assert f"{bob.jid} {bob.fingerprint} verified" in exported
