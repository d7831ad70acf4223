"""Two servers on a private Tor network; their people write to each other and elsewhere.

Run in a namespace by test_own_leaks.py.
"""

import asyncio
import contextlib
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from xmpp_onion.server import Server, initialise
from xmpp_onion.testing import TorNetwork
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.transport import Tor

DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
ELSEWHERE = ("example.com", "expyuzz4wqqyqhjn.onion", "192.0.2.1")


async def main(folder: Path, template: Path) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        network = await enter(TorNetwork(template=template))
        publisher = await enter(
            Tor.attach(network.service_socks, network.service_control)
        )
        people = []
        for name in ("alice", "bob"):
            # The bare members here make no stamps for those whom they do not know.
            initialise(folder / name, lambda options: replace(options, stamp_bits=0))
            server = await enter(Server(folder / name, tor=publisher))
            jid = await server.add_account(name, "pw")
            member = LightMember(jid, "pw", server.c2s_port, patience=120)
            people.append(await enter(member))
            people[-1].send("<presence/>")
        alice, bob = people
        for host in ELSEWHERE:
            say(alice, f"x@{host}", "hello")
            await hears(alice, "error")
        await reach(alice, str(bob.jid.domain), publisher)
        say(alice, str(bob.jid), "hello")
        await hears(bob, "chat")
        say(bob, str(alice.jid), "hello")
        await hears(alice, "chat")
        await alice.ask(DISCO, to=f"muc.{bob.jid.domain}")


async def reach(member: LightMember, host: str, tor: Tor) -> None:
    """Return when the other server answers; a new onion is not known at once."""
    for _ in range(10):
        with contextlib.suppress(AssertionError):  # it was bounced
            await member.ask(DISCO, to=host)
            return
        await tor.new_identity()  # Tor remembers for long that it found nothing
    raise AssertionError(f"{host} is not reached")


def say(sender: LightMember, to: str, text: str) -> None:
    sender.send(f"<message type='chat' id='m' to='{to}'><body>{text}</body></message>")


async def hears(member: LightMember, kind: str) -> None:
    await member.next(
        lambda stanza: stanza.tag.endswith("}message") and stanza.get("type") == kind
    )


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
