import re
from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion.errors import TorError
from xmpp_onion.testing.torrc import (
    NodePlan,
    Role,
    authority_line,
    join_lines,
    parked_offset,
    read_fingerprint,
    read_identity,
    render,
    voting_offset,
)

IDENTITY, FINGERPRINT = "A1" * 20, "B2" * 20
AUTHORITY = NodePlan(
    "auth0", Role.AUTHORITY, Path("/net/auth0"), 1, or_port=2, listen_port=2, dir_port=3
)
RELAY = NodePlan("relay0", Role.RELAY, Path("/net/relay0"), 4, or_port=5, listen_port=5)
CLIENT = NodePlan("client", Role.CLIENT, Path("/net/client"), 6, socks_port=7)
LINE = authority_line(AUTHORITY, IDENTITY, FINGERPRINT)


def lines(plan: NodePlan) -> list[str]:
    return render(plan, LINE, owner=42, offset=17).splitlines()


@pytest.mark.parametrize("plan", [AUTHORITY, RELAY, CLIENT])
def test_every_node_is_ours_alone_and_ends_with_us(plan: NodePlan) -> None:
    text = lines(plan)

    assert "TestingTorNetwork 1" in text
    assert "__OwningControllerProcess 42" in text
    assert "CookieAuthentication 1" in text
    assert f"DataDirectory {plan.folder}" in text
    assert LINE in text


@pytest.mark.parametrize("plan", [AUTHORITY, RELAY, CLIENT])
def test_every_port_is_on_loopback(plan: NodePlan) -> None:
    ports = [line for line in lines(plan) if re.match(r"\w+Port ", line)]

    assert ports
    assert all(" 127.0.0.1:" in line or line.endswith(" 0") for line in ports)


@pytest.mark.parametrize("plan", [AUTHORITY, RELAY])
def test_no_relay_is_an_exit_or_counts_its_bandwidth(plan: NodePlan) -> None:
    text = lines(plan)

    assert {"ExitRelay 0", "ExitPolicy reject *:*"} <= set(text)
    assert "CountPrivateBandwidth 0" in text
    assert "SocksPort 0" in text


def test_a_client_tells_why_and_keeps_accounts_apart() -> None:
    assert "SocksPort 127.0.0.1:7 ExtendedErrors IsolateSOCKSAuth" in lines(CLIENT)


def test_only_the_authority_votes() -> None:
    assert "TestingV3AuthVotingStartOffset 17" in lines(AUTHORITY)
    assert "DirPort 127.0.0.1:3" in lines(AUTHORITY)
    for plan in (RELAY, CLIENT):
        assert not any("V3Auth" in line or "DirPort" in line for line in lines(plan))


def test_a_relay_behind_a_delay_is_known_by_the_port_in_front() -> None:
    text = lines(replace(RELAY, listen_port=8))

    assert "ORPort 127.0.0.1:5 NoListen" in text
    assert "ORPort 127.0.0.1:8 NoAdvertise" in text


def test_descriptors_can_be_numbered_for_as_long_as_a_template_lives() -> None:
    """36 intervals, 12 hours of a template's life and 6 of a run: OPE_INPUT_MAX."""
    interval = next(
        int(line.split()[1])
        for line in lines(AUTHORITY)
        if line.startswith("V3AuthVotingInterval")
    )

    assert 36 * interval + (12 + 6) * 3600 <= 131_072
    assert 86_400 % interval == 0  # tor's own rule


def test_another_tor_joins_with_the_authority_and_the_testing_mode() -> None:
    joined = join_lines(LINE)

    assert joined[-1] == (
        f"DirAuthority auth0 orport=2 v3ident={IDENTITY} 127.0.0.1:3 {FINGERPRINT}"
    )
    assert "TestingTorNetwork 1" in joined


def test_key_files_are_read() -> None:
    certificate = (
        f"dir-key-certificate-version 3\nfingerprint {IDENTITY}\ndir-key-published …"
    )

    assert read_identity(certificate) == IDENTITY
    assert read_fingerprint(f"auth0 {FINGERPRINT}\n") == FINGERPRINT


@pytest.mark.parametrize("text", ["", "fingerprint", "auth0 B2B2", "broken\n" * 3])
def test_a_key_file_of_another_form_is_refused(text: str) -> None:
    for read in (read_identity, read_fingerprint):
        with pytest.raises(TorError, match="key files"):
            read(text)


@pytest.mark.parametrize("now", [0.0, 59.9, 1_800_000_037.5])
def test_the_first_vote_is_held_when_asked_for_and_not_before(now: float) -> None:
    """The consensus is due at each `offset` of a minute, the vote 4 s earlier."""
    until_parked = (parked_offset(now) - now) % 60
    until_called = (voting_offset(now) - now) % 60

    assert until_parked >= 45
    assert 4 <= until_called <= 5
