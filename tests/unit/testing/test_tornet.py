from pathlib import Path

import pytest

from xmpp_onion.testing import TorNetwork, tornet
from xmpp_onion.testing.tornet import until_uploaded


class Script:
    """Events, one after another; a test that reads past the end fails."""

    def __init__(self, *lines: str) -> None:
        self.left = list(lines)

    async def event(self) -> str:
        return f"HS_DESC {self.left.pop(0)}"


async def wait(script: Script) -> None:
    await until_uploaded(script.event, "us")


async def test_a_service_is_published_when_every_upload_has_ended() -> None:
    script = Script(
        "UPLOAD us UNKNOWN $A~relay0 desc1",
        "UPLOAD us UNKNOWN $B~relay1 desc1",
        "UPLOADED us UNKNOWN $A~relay0",
        "UPLOADED us UNKNOWN $B~relay1",
        "never read",
    )

    await wait(script)

    assert script.left == ["never read"]


async def test_two_uploads_to_one_directory_are_two() -> None:
    script = Script(
        "UPLOAD us UNKNOWN $A~relay0 desc1",
        "UPLOAD us UNKNOWN $A~relay0 desc2",
        "UPLOADED us UNKNOWN $A~relay0",
        "UPLOADED us UNKNOWN $A~relay0",
    )

    await wait(script)

    assert script.left == []


async def test_uploads_that_failed_are_not_enough() -> None:
    script = Script(
        "UPLOAD us UNKNOWN $A~relay0 desc1",
        "FAILED us UNKNOWN $A~relay0 REASON=UPLOAD_REJECTED",
        "UPLOAD us UNKNOWN $B~relay1 desc1",
        "UPLOADED us UNKNOWN $B~relay1",
    )

    await wait(script)

    assert script.left == []


async def test_the_uploads_of_others_do_not_count() -> None:
    script = Script(
        "UPLOAD us UNKNOWN $A~relay0 desc1",
        "UPLOADED them UNKNOWN $A~relay0",
        "CREATED us UNKNOWN UNKNOWN desc1",
        "UPLOADED us UNKNOWN $A~relay0",
    )

    await wait(script)

    assert script.left == []


def test_a_template_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert tornet._claim(tmp_path / "file" / "template", 4) is None


def test_two_relays_are_too_few() -> None:
    with pytest.raises(ValueError, match="at least 3 relays"):
        TorNetwork(relays=2)


def test_there_are_no_ports_before_it_is_entered() -> None:
    with pytest.raises(ValueError, match="none until the network is entered"):
        _ = TorNetwork().socks
