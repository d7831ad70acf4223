"""A client as a process of its own that a certain message kills, by SIGKILL."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from xmpp_onion import Account, Client, Message, Undecryptable
from xmpp_onion.e2ee import Decrypted, Omemo
from xmpp_onion.testing.loopback import LoopbackDialer

_decrypt = Omemo.decrypt


async def decrypt(self: Omemo, *args: object, **named: object) -> Decrypted:
    decrypted = await _decrypt(self, *args, **named)  # type: ignore[arg-type] # as they come
    if decrypted.plain is not None and decrypted.plain.text == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return decrypted


async def main(profile: str, data_dir: str, port: str) -> None:
    account = Account.load(profile, Path(data_dir))
    async with Client(account, tor=LoopbackDialer(int(port))) as client:
        async for event in client.events():
            if isinstance(event, Message | Undecryptable):
                sys.stdout.write(f"{getattr(event, 'text', event)}\n")
                sys.stdout.flush()
            if isinstance(event, Message) and event.text == "after":
                break


Omemo.decrypt = decrypt  # type: ignore[method-assign,assignment] # here it kills
asyncio.run(main(*sys.argv[1:]))
