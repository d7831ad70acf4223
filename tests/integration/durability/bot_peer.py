"""A bot as a process of its own, whose command has an effect outside of its store.

Nobody can undo that effect, and the bot cannot ask whether it happened: the line in
its history is on the disk before the command goes on.
"""

import asyncio
import logging
import os
import sys
from datetime import timedelta

from history import History
from killpoints import KillPoint
from peer import Plan

from xmpp_onion import Account, Bot, Client, Tor, Trust
from xmpp_onion.agent.signals import until_terminated

# Seconds that an order takes: there is always one that is being done.
_WORK = 0.05


def make_bot(history: History, kill: KillPoint) -> Bot:
    """Return a bot that does what it is told, and writes down that it does."""
    bot = Bot(
        "bob",
        trust=Trust.BTBV,
        answers="10000/s",
        sends="10000/s",
        sends_to_each="10000/s",
        max_age=timedelta(days=1),
    )

    @bot.command
    async def do(number: int) -> str:
        history.write("done", number=number)
        kill.reach("handled")
        await asyncio.sleep(_WORK)
        return f"done {number}"

    return bot


async def _serve(plan: Plan, kill: KillPoint) -> None:
    history = History(plan.history)
    account = Account.load(plan.profile, plan.data_dir)
    bot = make_bot(history, kill)
    async with (
        until_terminated(),
        Tor.attach(plan.socks) as tor,
        Client(account, tor=tor, trust=bot.trust, login_timeout=None) as client,
    ):
        history.write("ready", fingerprint=client.fingerprint)
        await bot.serve(client)
    history.write("stopped")


def main(plan: Plan) -> None:
    """Carry a plan out; the body of the process."""
    log = os.open(
        plan.history.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    os.dup2(log, sys.stderr.fileno())
    logging.basicConfig(level=logging.INFO, format="%(process)d %(name)s %(message)s")
    kill = KillPoint(plan.kill)
    kill.install()
    asyncio.run(_serve(plan, kill))
