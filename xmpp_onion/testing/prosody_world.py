"""A world on a real server: everybody is a client, and Prosody runs on loopback.

What a bot does here it does anywhere, but for Tor. Nothing here waits for a time: a
message is done when the bot has handled it, and what the bot said is with whom it
was said to.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.bot import Bot
from xmpp_onion.bot.clock import SystemClock
from xmpp_onion.bot.line import Line
from xmpp_onion.chat import Affiliation, Attachment, Content, Event, Said
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust, TrustLevel, accepts
from xmpp_onion.rooms import Room
from xmpp_onion.server import Prosody
from xmpp_onion.session import register
from xmpp_onion.testing.fake_clock import FakeClock
from xmpp_onion.testing.fake_user import FakeUser
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.observed import Observed

__all__ = ["ProsodyWorld"]

# Seconds for anything that is waited for: what is that late does not come.
_PATIENCE: Final = 60.0
_PASSES: Final = 25
# Virtual port at which files lie, see prosody-config.
_HTTP: Final = 5280
# Whoever makes a room that none of its members owns.
_STEWARD: Final = "steward"
# What a policy of its own makes of the device of somebody whom nobody verified.
_POLICIES: Final = {
    TrustLevel.UNDECIDED: Trust.MANUAL,
    TrustLevel.BLINDLY_TRUSTED: Trust.BTBV,
}


class ProsodyWorld:
    """People, rooms and a bot's account on a Prosody; an async context manager.

    Args:
        bot: Whose account it has.
        folder: For the server, and for everybody's store and files.

    Attributes:
        transcript: All that was said, a line each.
        clock: The machine's.
    """

    def __init__(self, bot: Bot, folder: Path) -> None:
        program = os.environ.get("XMPP_ONION_PROSODY", "prosody")
        self.clock = SystemClock()
        self.transcript: list[str] = []
        self._bot = bot
        self._name = bot.name.lower()
        self._folder = folder
        self._prosody = Prosody(folder / "server", program=program)
        self._account: Account | None = None
        self._line: Observed | None = None
        self._users: dict[JID, FakeUser] = {}
        self._clients: dict[JID, Client] = {}
        self._decided: dict[JID, TrustLevel] = {}
        self._rooms: dict[JID, Mapping[JID, Affiliation]] = {}
        self._made: set[JID] = set()
        self._got: set[tuple[JID, str]] = set()
        self._news = asyncio.Event()
        self._preparing = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._prosody)
            self._wire = LoopbackDialer(
                self._prosody.c2s_port, ports={_HTTP: self._prosody.http_port}
            )
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    # --- for the one who tests ------------------------------------------------------

    @property
    def jid(self) -> JID:
        """The bot's account."""
        return JID(f"{self._name}@{self._prosody.onion}")

    @property
    def fake_clock(self) -> FakeClock:
        """Refuse: there is none."""
        _refuse("the clock cannot be moved")

    def connect(self, bot: Bot) -> AbstractAsyncContextManager[Line]:
        """Log the bot in, for as long as it runs."""
        self._bot = bot
        return self._connected(bot)

    @asynccontextmanager
    async def _connected(self, bot: Bot) -> AsyncIterator[Line]:
        if self._account is None:
            self._account = await self._enrol(self._name)
        async with Client(self._account, tor=self._wire, trust=bot.trust) as client:
            await client.settle_rooms()
            self._line = Observed(client, self._news)
            yield self._line

    def user(self, jid: JID, trust: TrustLevel = TrustLevel.TRUSTED) -> FakeUser:
        """Return somebody, who is logged in when something happens next."""
        if jid.domain != self.jid.domain:
            _refuse(f"{jid.local} cannot be elsewhere: there is one server")
        if jid not in self._users:
            self._users[jid] = FakeUser(self, jid, trust)
        return self._users[jid]

    def room(self, jid: JID, affiliations: Mapping[JID, Affiliation]) -> Room:
        """Return a room, which is made when something happens next."""
        self._rooms.setdefault(jid, affiliations)
        return self._own_line().client.room(jid)

    @property
    def pages(self) -> dict[str, bytes]:
        """Refuse: other onions are not here."""
        _refuse("there are no pages of others")

    async def enrol(self, name: str) -> Client:
        """Make an account, and return a client of it that is not logged in."""
        return Client(await self._enrol(name), tor=self._wire)

    async def tell(self, event: Event) -> None:
        """Refuse: a real server says what it says."""
        _refuse(f"{type(event).__name__} cannot be made to happen")

    async def advance(self, time: timedelta) -> None:
        """Refuse: the clock is the machine's."""
        _refuse(f"the clock cannot be moved by {time}")

    def pass_time(self, time: timedelta) -> None:
        """Refuse, unless no time is to pass."""
        if time:
            _refuse(f"the clock cannot be moved by {time}")

    async def settle(self) -> None:
        """Return when the bot has done what it can do, and all of it arrived."""
        await self.prepare()
        await self._until(self._is_quiet)

    # --- for those who live here ----------------------------------------------------

    async def say(
        self, user: FakeUser, to: JID | None, what: Content, age: timedelta
    ) -> str:
        """Let somebody say something; see ``Voice``."""
        if age:
            _refuse("a message cannot be made older than it is")
        if what.attachment is not None:
            _refuse("a link alone is no file: use send_file()")
        await self.prepare()
        is_heard = accepts(self._decided[user.jid])
        if what.text is None and not is_heard:
            _refuse("nobody can tell when what an undecided device felt was ignored")
        client, place = self._clients[user.jid], to or self.jid
        if what.retracts:
            delivery = await client.retract(place, what.retracts)
        elif what.reacts_to:
            delivery = await client.react(place, what.reacts_to, *what.emojis)
        elif what.corrects:
            delivery = await client.correct(place, what.corrects, what.text or "")
        else:
            delivery = await client.send(
                place,
                what.text or "",
                reply_to=what.reply_to,
                mentions=what.mentions,
            )
        return await self._answered(delivery.id)

    async def say_file(self, user: FakeUser, to: JID | None, path: Path) -> str:
        """Let somebody send a file; see ``Voice``."""
        await self.prepare()
        client = self._clients[user.jid]
        return await self._answered((await client.send_file(to or self.jid, path)).id)

    async def say_plain(self, user: FakeUser, to: JID | None) -> str:
        """Refuse: a client of ours has no way to say it."""
        _refuse(f"{user!r} cannot send to {to or self.jid} without encryption")

    async def save(self, attachment: Attachment) -> Path:
        """Fetch a file that the bot sent; see ``Voice``."""
        folder = self._folder / "saved"
        folder.mkdir(exist_ok=True)
        return await attachment.save(folder)

    async def prepare(self) -> None:
        """Log in who is not there yet, decide about devices, and make rooms."""
        async with self._preparing:
            await self._prepare_people()
            for jid in self._rooms.keys() - self._made:
                self._made.add(jid)
                await self._make_room(jid)

    async def _prepare_people(self) -> None:
        for user in list(self._users.values()):
            if user.jid not in self._clients:
                await self._log_in(user)
            if self._decided.get(user.jid) is not user.trust:
                await self._decide(user)

    async def _answered(self, message_id: str) -> str:
        line = self._own_line()
        await self._until(lambda: "" if message_id in line.heard else "the bot")
        await self.settle()
        return message_id

    def _own_line(self) -> Observed:
        if self._line is None:
            raise RuntimeError("the bot is not running")
        return self._line

    def _is_quiet(self) -> str:
        """Return what is waited for; empty if nothing is."""
        line = self._own_line()
        if line.speaking or line.unhandled > self._bot.open_questions:
            return "the bot, which is still busy"
        for jid, message_id in line.said:
            if jid in self._users and (jid, message_id) not in self._got:
                return f"{self._users[jid]!r}, who did not get all that the bot said"
        return ""

    async def _until(self, missing: Callable[[], str]) -> None:
        """Wait until nothing is missing.

        Raises:
            AssertionError: It did not come.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    for _ in range(_PASSES):
                        await asyncio.sleep(0)
                    if not missing():
                        return
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{_PATIENCE:.0f} seconds passed, and still waited for {missing()}"
            ) from None

    async def _enrol(self, name: str) -> Account:
        password = f"secret of {name}"
        invite = await self._prosody.invite(name)
        certificate = await register(invite, name, password, tor=self._wire)
        account = Account(
            profile=name,
            folder=self._folder / "accounts" / name,
            jid=JID(f"{name}@{self._prosody.onion}"),
            password=password,
            trust=Trust.BTBV,
            certificate=certificate,
        )
        account.save()
        return account

    async def _open(self, name: str) -> Client:
        return await self._stack.enter_async_context(await self.enrol(name))

    async def _log_in(self, user: FakeUser) -> None:
        client = self._clients[user.jid] = await self._open(user.jid.local)
        reading = self._tasks.create_task(self._read(user, client))
        self._stack.callback(reading.cancel)

    async def _read(self, user: FakeUser, client: Client) -> None:
        async for event in client.events():
            if isinstance(event, Said) and event.sender == self.jid:
                await user.take(event)
                self._got.add((user.jid, event.id))
                self._news.set()

    async def _decide(self, user: FakeUser) -> None:
        """Let the bot decide about somebody's device as the test says."""
        bot, print_ = self._own_line().client, self._clients[user.jid].fingerprint
        match user.trust:
            case TrustLevel.TRUSTED:
                await bot.verify(user.jid, print_)
            case TrustLevel.DISTRUSTED:
                await bot.distrust(user.jid, print_)
            case level:
                await bot.set_policy(user.jid, _POLICIES[level])
                if user.jid in self._decided:
                    await bot.notary.decide(user.jid, print_, TrustLevel.UNDECIDED)
        self._decided[user.jid] = user.trust

    async def _make_room(self, jid: JID) -> None:
        """Make a room with its members, and let all of them come in."""
        wanted = {who: what for who, what in self._rooms[jid].items() if what.is_member}
        for who in wanted.keys() - {self.jid}:
            self.user(who)
        await self._prepare_people()
        clients = {**self._clients, self.jid: self._own_line().client}
        owners = [who for who, what in wanted.items() if what is Affiliation.OWNER]
        owner = clients[owners[0]] if owners else await self._open(_STEWARD)
        room = await owner.create_room(jid)
        for who, what in self._rooms[jid].items():
            if who != owner.jid:
                await room.grant(who, what)
        for who in wanted.keys() - {owner.jid}:
            await clients[who].join(jid)
        for who in wanted:
            await self._until_known(clients[who], jid, wanted)

    async def _until_known(
        self, client: Client, room: JID, wanted: Mapping[JID, Affiliation]
    ) -> None:
        """Wait until somebody knows what everybody is to a room."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                changed, state = client.rooms.changed, client.rooms.state(room)
                if state is not None and wanted.items() <= state.members.items():
                    return
                await changed.wait()


def _refuse(why: str) -> NoReturn:
    raise RuntimeError(
        f"{why}: server='prosody' is a real one; leave that to a test in memory"
    )
