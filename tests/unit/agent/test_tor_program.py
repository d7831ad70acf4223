"""Which versions of Tor are known to have holes."""

from pathlib import Path

import pytest

from xmpp_onion.agent.tor_program import check_tor_program, judge_tor
from xmpp_onion.errors import TorError

POW = "relay: yes\npow: yes\n"


@pytest.mark.parametrize(
    ("version", "modules", "is_well"),
    [
        ("Tor version 0.4.9.11.\nThis build …", POW, True),
        ("Tor version 0.4.9.15.", POW, True),
        ("Tor version 0.5.0.1-alpha.", POW, True),
        ("Tor version 0.4.9.10.", POW, False),
        ("Tor version 0.4.8.24.", POW, False),
        ("Tor version 0.4.7.16.", POW, False),
        ("Tor version 0.4.9.11.", "relay: yes\npow: no\n", False),
        ("", "", False),
    ],
)
def test_a_tor_with_known_holes_or_without_work_is_a_fault(
    version: str, modules: str, *, is_well: bool
) -> None:
    assert isinstance(judge_tor(version, modules), TorError) != is_well


async def test_the_program_itself_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    without = await check_tor_program()
    program = tmp_path / "tor"
    words = 'echo "Tor version 0.4.8.9."; echo pow: yes'
    program.write_text(f"#!/bin/sh\n{words}\n")
    program.chmod(0o755)

    assert "not installed" in str(without)
    assert "0.4.8.9 has known holes" in str(await check_tor_program())
