"""Trust and devices, over a real onion and without any connection."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person


pytestmark = pytest.mark.onion


def test_devices_are_listed_with_their_fingerprints(
    alice: "Person", bob: "Person"
) -> None:
    own = alice.run("devices", "list", "--json")
    other = alice.run("devices", "list", bob.jid, "--json")
    told = alice.run("devices", "list")

    (mine,) = [line for line in own.lines if line["fingerprint"] == alice.fingerprint]
    assert own.code == other.code == 0
    assert set(mine) >= {"v", "event", "jid", "own", "device", "fingerprint", "trust",
                         "active", "label"}  # fmt: skip
    assert (mine["event"], mine["own"], mine["active"]) == ("device", True, True)
    assert [line["fingerprint"] for line in other.lines] == [bob.fingerprint]
    assert other.lines[0]["own"] is False
    assert alice.fingerprint in told.out.replace(" ", "")


def test_a_revoked_device_gets_nothing_until_it_is_verified_again(
    alice: "Person", bob: "Person"
) -> None:
    with alice.runs("listen", "--json") as listen:  # all of it through its socket
        listen.line()
        digits = bob.fingerprint
        groups = [digits[at : at + 8] for at in range(0, 64, 8)]
        revoked = alice.run("trust", "revoke", bob.jid, digits, "--json")
        refused = alice.run("send", bob.jid, "-m", "hi", "--json")
        verified = alice.run("trust", "verify", bob.jid, *groups, "--json")
        sent = alice.run("send", bob.jid, "-m", "hi", "--json")
        listed = alice.run("trust", "list", bob.jid, "--json")

    assert revoked.lines[0]["trust"] == "distrusted"
    (line,) = refused.lines
    assert (refused.code, line["code"]) == (4, 4)
    assert f"trust verify {bob.jid} {digits}" in str(line["fix"])
    assert verified.lines[0]["trust"] == "verified"
    assert sent.code == 0
    assert [line["trust"] for line in listed.lines] == ["verified"]


def test_a_code_is_shown_and_its_uri_verifies(alice: "Person", bob: "Person") -> None:
    with bob.runs("listen", "--json") as listen:  # through its socket
        listen.line()
        (shown,) = bob.run("trust", "qr", "--json").lines
        done = alice.run("trust", "verify", str(shown["uri"]), "--json")
        forged = str(shown["uri"]).replace(bob.fingerprint, "ab" * 32)
        refused = alice.run("trust", "verify", forged, "--json")
        exported = alice.run("trust", "export")

    assert str(shown["uri"]).startswith(f"xmpp:{bob.jid}?omemo-sid-")
    assert [line["trust"] for line in done.lines] == ["verified"]
    (alarm,) = refused.lines
    assert (refused.code, alarm["event"]) == (4, "error")
    assert str(alarm["what"]).startswith("ALARM")
    assert f"{bob.jid} {bob.fingerprint} verified" in exported.out.splitlines()


def test_a_fingerprint_of_no_device_is_refused(alice: "Person", bob: "Person") -> None:
    done = alice.run("trust", "verify", bob.jid, "ab" * 32, "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (4, 4)


def test_a_pin_needs_no_connection(carol: "Person", bob: "Person") -> None:
    done = carol.run(
        "--socks", "127.0.0.1:1", "trust", "pin", bob.jid, bob.fingerprint, "--json"
    )

    (line,) = done.lines
    assert (done.code, line["event"]) == (0, "pinned")
    assert bob.fingerprint in (carol.folder / "account.toml").read_text()
