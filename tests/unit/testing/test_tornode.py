import shutil
from pathlib import Path

import pytest

from xmpp_onion.errors import TorNotFoundError, TorNotRunningError
from xmpp_onion.testing.tornode import TorNode, require_programs
from xmpp_onion.testing.torrc import NodePlan, Role


@pytest.mark.parametrize("missing", ["tor", "tor-gencert"])
def test_a_missing_program_is_named_with_the_cure(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in {"tor", "tor-gencert"} - {missing}:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(TorNotFoundError, match=rf"program {missing} .*apt-get install"):
        require_programs()


def test_programs_that_are_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("tor", "tor-gencert"):
        (tmp_path / program).symlink_to(shutil.which("true") or "")
    monkeypatch.setenv("PATH", str(tmp_path))

    require_programs()


async def test_a_node_that_was_not_started_is_not_alive(tmp_path: Path) -> None:
    node = TorNode(NodePlan("relay0", Role.RELAY, tmp_path, 1, or_port=2))

    assert node.pid is None
    assert not node.was_started
    node.kill()
    await node.gone()
    with pytest.raises(TorNotRunningError, match="relay0 was not started"):
        node.check_alive()


def test_the_last_lines_of_a_log_are_its_tail(tmp_path: Path) -> None:
    node = TorNode(NodePlan("relay0", Role.RELAY, tmp_path, 1, or_port=2))
    assert node.log_tail() == ""

    text = "\n".join(f"line {number}" for number in range(100))
    (tmp_path / "tor.log").write_text(text)

    assert node.log() == text
    assert node.log_tail().splitlines()[0] == "line 88"
    assert node.log_tail().splitlines()[-1] == "line 99"
