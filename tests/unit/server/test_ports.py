"""Ports on loopback: chosen once, and never somebody else's."""

from pathlib import Path

import pytest

from xmpp_onion.server import ports as module
from xmpp_onion.server.ports import (
    VIRTUAL_PORTS,
    Ports,
    choose_ports,
    read_taken_ports,
)


def test_the_ports_differ_and_are_below_the_kernels_own() -> None:
    for _ in range(50):
        ports = choose_ports()
        assert len(set(ports)) == len(ports)
        assert all(20000 <= port < 32768 for port in ports)


def test_a_port_that_was_chosen_stays_and_is_given_to_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So few that a second use would come at once; nobody listens on these.
    monkeypatch.setattr(module, "_PORTS", range(1, 9))
    kept = Ports(http=1, s2s=2)

    for _ in range(50):
        ports = choose_ports(kept)
        assert (ports.http, ports.s2s) == (1, 2)
        assert len(set(ports)) == len(ports)


def test_each_port_of_the_onion_has_a_listener() -> None:
    assert set(VIRTUAL_PORTS.values()) <= set(Ports._fields)


def test_listening_ports_are_read_and_connections_are_not(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        "   0: 0100007F:5014 00000000:0000 0A 00000000:00000000 00:00000000\n"
        "   1: 0100007F:5015 0100007F:1F90 01 00000000:00000000 00:00000000\n"
    )

    assert read_taken_ports([table, tmp_path / "tcp6"]) == {0x5014}
