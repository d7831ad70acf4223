"""Public calls as users write them; only the type checker runs this."""

from datetime import datetime
from pathlib import Path
from typing import assert_never, assert_type

from xmpp_onion import (
    JID,
    Account,
    Affiliation,
    Bot,
    Client,
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Correction,
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Device,
    Event,
    Gap,
    Invite,
    KeyChanged,
    KeyReuse,
    Message,
    Moderated,
    MoreRequests,
    Moved,
    NewDevice,
    OnionAddress,
    OnionService,
    OwnMessage,
    Reaction,
    Receipt,
    Retraction,
    RolledBack,
    Room,
    RoomEvent,
    RoomState,
    Tor,
    Trust,
    TrustChanged,
    TrustLevel,
    Typing,
    Undecryptable,
    XmppOnionError,
)
from xmpp_onion.server import Server
from xmpp_onion.testing import ChaosProxy, TorNetwork


async def talk(profile: str) -> None:
    async with (
        Tor.attach() as tor,
        Client(Account.load(profile), tor=tor, trust=Trust.PINNED) as client,
    ):
        assert_type(await client.send("bob@x.onion", "hello"), Delivery)
        assert_type(await client.queue("bob@x.onion", "hello"), Delivery)
        assert_type(client.fingerprint, str)
        assert_type(await client.devices("bob@x.onion"), tuple[Device, ...])
        await client.add_contact("bob@x.onion")
        async for message in client.messages():
            assert_type(message, Message)
            assert_type(message.sender, JID)
            assert_type(message.room, JID | None)
            assert_type(message.at, datetime)
            assert_type((await message.reply("got it")).state, DeliveryState)


async def watch(client: Client) -> None:
    async for event in client.events():
        assert_type(describe(event), str)


def describe(event: Event) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each kind
    match event:
        case Message(text=text):
            return text
        case Undecryptable(reason=reason):
            return reason
        case ContactRequest(sender=sender):
            return sender
        case ContactAccepted() | ContactRemoved() | MoreRequests():
            return event.sender
        case Gap(since=since):
            return since.isoformat()
        case OwnMessage(text=text) | Correction(text=text):
            return text
        case Reaction(emojis=emojis):
            return " ".join(emojis)
        case Retraction(target=target):
            return target
        case Receipt(state=state) | Typing(state=state):
            return state
        case DeliveryFailed(reason=reason):
            return reason
        case RoomEvent(change=change):
            return change
        case Moderated(target=target):
            return target
        case RolledBack(at=at):
            return at.isoformat()
        case Moved(new=new):
            return new
        case NewDevice() | KeyChanged() | KeyReuse() | TrustChanged():
            return event.fingerprint
        case _:
            assert_never(event)


async def gather(client: Client) -> None:
    room = await client.create_room("friends@muc.x.onion", "me")
    assert_type(room, Room)
    assert_type(await client.join("friends@muc.x.onion"), Room)
    assert_type(room.state, RoomState | None)
    assert_type(await room.members(), dict[JID, Affiliation])
    await room.invite("bob@x.onion", "carol@x.onion")
    await room.grant("bob@x.onion", Affiliation.ADMIN)
    await room.kick("carol@x.onion")
    assert_type(await room.send("hello"), Delivery)
    async for message in client.messages():
        await room.moderate(message)
    await room.leave()


bot = Bot("echo", trust=Trust.PINNED)


@bot.message
async def echo(msg: Message) -> str:
    return msg.text


@bot.message
async def silent(msg: Message) -> None:
    assert_type(msg.trust, str)


async def serve(folder: Path) -> None:
    async with Tor.launch(folder / "tor") as tor, Server(folder, tor=tor) as server:
        async for percent, summary in tor.bootstrap():
            assert_type(percent, int)
            assert_type(summary, str)
        assert_type(server.onion, OnionAddress)
        assert_type(await server.invite(), Invite)
        assert_type(await server.add_account("alice", "secret"), JID)
        await server.restart()


async def test_network(folder: Path) -> None:
    async with TorNetwork() as net, Tor.attach(net.socks, net.control) as tor:
        assert_type(await net.add_onion({80: 8080}), OnionAddress)
        await net.newnym()
        async with tor.onion_service(folder / "key", {80: 8080}) as service:
            assert_type(service, OnionService)
            assert_type(service.address, OnionAddress)
    async with ChaosProxy(net.socks, rtt=0.2) as proxy:
        assert_type(proxy.round_trips, int)


def mend(error: XmppOnionError) -> tuple[str, str, str, int]:
    return error.what, error.why, error.fix, error.exit_code


def levels() -> list[str]:
    return [level.word for level in TrustLevel]
