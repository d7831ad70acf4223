"""An agent over a real onion: in the background, through a Tor that dies, once each."""

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World

pytestmark = [pytest.mark.onion, pytest.mark.asyncio(loop_scope="session")]

ALERTS = 9


async def test_alerts_survive_the_death_of_tor_each_once_and_in_order(
    world: "World", alice: "Person", bob: "Person"
) -> None:
    def alert(number: int) -> int:
        text = f"alert {number} of the agent"
        return alice.run("send", bob.jid, "--json", stdin=text).code

    started = await asyncio.to_thread(alice.run, "agent", "start", "--detach", "--json")
    try:
        (ready,) = started.lines
        assert (started.code, ready["event"]) == (0, "ready")
        with bob.runs("listen", "--json") as listen:
            line = await asyncio.to_thread(listen.line)
            assert line["event"] == "ready"
            codes = [await asyncio.to_thread(alert, number) for number in range(3)]
            await world.network.kill("client")
            waiting = asyncio.to_thread(lambda: [alert(n) for n in range(3, ALERTS)])
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(waiting)
                await world.network.restart("client")
            codes += sending.result()
            heard = []
            while len(heard) < ALERTS:
                line = await asyncio.to_thread(listen.line)
                if str(line.get("body")).endswith("of the agent"):
                    heard.append(line["body"])
        status = await asyncio.to_thread(alice.run, "agent", "status", "--json")
    finally:
        stopped = await asyncio.to_thread(alice.run, "agent", "stop", "--json")

    assert codes == [0] * ALERTS
    assert heard == [f"alert {number} of the agent" for number in range(ALERTS)]
    (line,) = status.lines
    assert (line["state"], line["agent"], line["queue"]) == ("connected", True, 0)
    assert line["tor"] == world.network.socks
    assert (stopped.code, stopped.lines[0]["state"]) == (0, "stopped")
    assert json.loads(alice.run("agent", "status", "--json").out)["state"] == "stopped"
