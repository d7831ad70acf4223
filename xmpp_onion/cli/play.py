"""What Alice, Bob and a bot do in the demo: talk, meet in a room, send a file."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import permutations
from pathlib import Path

from xmpp_onion.account import Account
from xmpp_onion.bot import Bot
from xmpp_onion.chat import Message
from xmpp_onion.cli.progress import Step, Steps
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import SessionError
from xmpp_onion.transport import Tor

__all__ = ["play"]

# Seconds that one message of the demo may take; a circuit on loopback takes one.
_MESSAGE_TIMEOUT = 60.0
# Bytes of the file: enough to see the bar move, little enough to wait for.
_FILE_BYTES = 2_000_000


async def play(
    accounts: Collection[Account], tor: Tor, folder: Path, steps: Steps
) -> None:
    """Let Alice, Bob and a bot log in, pin each other, talk, meet and share.

    Args:
        accounts: Theirs, in this order.
        tor: The way out.
        folder: Where the file is written and saved.
        steps: Told what happens.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        with steps.step("They log in and publish their keys") as step:
            people = await enter(_logged_in(accounts, tor))
            step.done({"event": "ready", "seconds": step.seconds})
        with steps.step("They pin each other's keys") as step:
            await asyncio.gather(
                *(
                    one.verify(other.jid, other.fingerprint)
                    for one, other in permutations(people, 2)
                )
            )
            step.done({"event": "pinned", "seconds": step.seconds})
        alice, bob, echo = people
        bot = Bot("echo", trust=Trust.PINNED)
        bot.message(_echo)
        tasks = await enter(asyncio.TaskGroup())
        stack.callback(tasks.create_task(bot.serve(echo)).cancel)
        hears_alice, hears_bob = Ear(alice), Ear(bob)
        for ear in (hears_alice, hears_bob):
            stack.callback(tasks.create_task(ear.listen()).cancel)
        # Side by side, as people do.
        async with asyncio.TaskGroup() as scenes:
            scenes.create_task(_talk(hears_alice, hears_bob, echo, steps))
            scenes.create_task(_meet(hears_alice, hears_bob, echo, steps))
            scenes.create_task(_share(alice, hears_bob, folder, steps))


@asynccontextmanager
async def _logged_in(
    accounts: Collection[Account], tor: Tor
) -> AsyncIterator[list[Client]]:
    """Yield the clients of all accounts, logged in at the same time."""
    leave = asyncio.Event()

    async def live(account: Account, arrived: asyncio.Future[Client]) -> None:
        async with Client(account, tor=tor) as client:
            arrived.set_result(client)
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        arrivals = [asyncio.get_running_loop().create_future() for _ in accounts]
        for account, arrived in zip(accounts, arrivals, strict=True):
            tasks.create_task(live(account, arrived))
        try:
            yield await asyncio.gather(*arrivals)
        finally:
            leave.set()


class Ear:
    """What somebody hears, each kind for who waits for it.

    Args:
        client: Whose messages are read.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._words = asyncio.Queue[Message]()
        self._words_in_room = asyncio.Queue[Message]()
        self._files = asyncio.Queue[Message]()

    async def listen(self) -> None:
        """Take in messages until cancelled."""
        async for message in self.client.messages():
            if message.attachment is not None:
                self._files.put_nowait(message)
            elif message.room is not None:
                self._words_in_room.put_nowait(message)
            else:
                self._words.put_nowait(message)

    async def word(self) -> Message:
        """Return what was said to this one alone."""
        return await _next(self._words)

    async def word_in_room(self) -> Message:
        """Return what was said to all in the room."""
        return await _next(self._words_in_room)

    async def file(self) -> Message:
        """Return the message that a file came with."""
        return await _next(self._files)


async def _next(messages: asyncio.Queue[Message]) -> Message:
    try:
        async with asyncio.timeout(_MESSAGE_TIMEOUT):
            return await messages.get()
    except TimeoutError:
        raise SessionError(
            "a message of the demo did not arrive",
            why=f"not within {_MESSAGE_TIMEOUT:.0f} seconds",
            fix="Run it again with -vv and look at what stops.",
        ) from None


async def _echo(message: Message) -> str:
    return message.text


async def _talk(alice: Ear, bob: Ear, echo: Client, steps: Steps) -> None:
    """Two people, and one with a bot."""
    await alice.client.send(bob.client.jid, "Hello Bob, can anybody else read this?")
    steps.say(await bob.word())
    await bob.client.send(alice.client.jid, "Nobody: not the server, not the network.")
    steps.say(await alice.word())
    await alice.client.send(echo.jid, "Echo, are you there?")
    steps.say(await alice.word())


async def _meet(alice: Ear, bob: Ear, echo: Client, steps: Steps) -> None:
    """A room of three, whom nobody else can join or read."""
    address = f"friends@muc.{alice.client.jid.domain}"
    with steps.step("They meet in a room for members only") as step:
        room = await alice.client.create_room(address)
        guests = (bob.client, echo)
        await asyncio.gather(*(room.invite(guest.jid) for guest in guests))
        await asyncio.gather(*(guest.join(address) for guest in guests))
        members = await room.members()
        step.done(
            {
                "event": "room",
                "room": room.jid,
                "members": len(members),
                "seconds": step.seconds,
            },
            f"{len(members)} members",
        )
    await room.send("Welcome to you both!")
    steps.say(await bob.word_in_room())
    steps.say(await alice.word_in_room())  # from the bot


async def _share(alice: Client, bob: Ear, folder: Path, steps: Steps) -> None:
    """A file, encrypted as it goes and checked when it is there."""
    sent, saved = folder / "plan.bin", folder / "saved"
    saved.mkdir()
    sent.write_bytes(secrets.token_bytes(_FILE_BYTES))
    with steps.step("Alice sends a file, Bob fetches it") as step:
        await alice.send_file(bob.client.jid, sent, _shown(step, "up", 0.0))
        message = await bob.file()
        steps.say(message)
        assert message.attachment is not None  # noqa: S101 - Ear looked at it
        got = await message.attachment.save(saved, _shown(step, "down", 0.5))
        if got.read_bytes() != sent.read_bytes():
            raise SessionError(
                "the file of the demo arrived as another one",
                fix="That is a mistake of ours: please tell us.",
            )
        step.done(
            {
                "event": "downloaded",
                "path": str(got),
                "size": _FILE_BYTES,
                "seconds": step.seconds,
            },
            f"{_FILE_BYTES / 1e6:.0f} MB, byte for byte the same",
        )


def _shown(step: Step, direction: str, begin: float) -> Callable[[int, int], None]:
    """Return what draws one half of the way of a file."""
    return lambda done, total: step.update(direction, begin + done / total / 2)
