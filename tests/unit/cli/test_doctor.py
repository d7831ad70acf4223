"""What the doctor says of an account that was never on the network again."""

from typing import TYPE_CHECKING

from xmpp_onion import Account
from xmpp_onion.e2ee import OMEMO_2, Omemo, Trust
from xmpp_onion.e2ee.versions import list_node
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.fake_pep import FakePep, FakePepServer

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


async def publish(account: Account, server: FakePepServer) -> None:
    """Make an OMEMO device, and do all jobs that it wishes for."""
    async with Database.open(account.store_path, key=account.store_key) as database:
        pep = FakePep(account.jid, server)
        omemo = Omemo(account.jid, Keys(database), pep, policy=Trust.TOFU)
        await omemo.prepare(database)
        for effect in omemo.take_effects():
            await omemo.perform(effect.kind, effect.payload)


async def test_nodes_that_the_server_keeps_closed_are_named(
    command: "Command", account: Account
) -> None:
    server = FakePepServer()
    node, _ = list_node(OMEMO_2)
    server.keeps_closed.add(node)
    await publish(account, server)

    done = command("doctor", "--offline", "--json")

    lines = {line["name"]: line for line in done.lines}
    assert done.code == 4
    assert lines["store"]["ok"] is True
    assert lines["nodes"]["what"] == "strangers cannot write to this account"
    assert node in str(lines["nodes"]["why"])


async def test_nothing_is_said_of_nodes_that_are_open(
    command: "Command", account: Account
) -> None:
    await publish(account, FakePepServer())

    done = command("doctor", "--offline", "--json")

    assert done.code == 0
    assert "nodes" not in {line["name"] for line in done.lines}
