import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.testing.torfleet import TorFleet
from xmpp_onion.testing.tortemplate import Layout


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def fleet(hop_delay: float = 0.0) -> TorFleet:
    return TorFleet(4, hop_delay=hop_delay, progress=lambda *_: None)


async def test_no_two_nodes_share_a_port(temporary: Path) -> None:
    net = fleet(hop_delay=0.1)
    net.lay_out()

    plans = [node.plan for node in net.nodes.values()]
    ports = [
        port
        for p in plans
        for port in (p.control_port, p.or_port, p.listen_port, p.dir_port, p.socks_port)
        if port
    ]
    assert len(plans) == 7
    assert len(set(ports)) == len(ports) == 7 + 5 + 5 + 1 + 2
    await net.clear()
    assert list(temporary.iterdir()) == []  # noqa: ASYNC240 - nothing else runs


async def test_a_delay_stands_in_front_of_each_relay() -> None:
    near, far = fleet(), fleet(hop_delay=0.1)
    near.lay_out()
    far.lay_out()

    assert all(n.plan.listen_port == n.plan.or_port for n in near.relays())
    assert all(n.plan.listen_port != n.plan.or_port for n in far.relays())
    await near.clear()
    await far.clear()


async def test_a_template_pins_the_ports_of_relays_and_no_others() -> None:
    first = fleet()
    first.lay_out()
    layout = first.layout(datetime.now(UTC))
    await first.clear()
    second = fleet()

    second.lay_out(layout)

    assert second.layout(layout.valid_after) == layout
    assert set(layout.ports) == {"auth0", "relay0", "relay1", "relay2", "relay3"}
    assert isinstance(layout, Layout)
    await second.clear()


def test_an_unknown_node_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="none until the network is entered"):
        fleet()["relay0"]
