"""A server that offers nothing but a way to its new name."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import MovedError, SessionError
from xmpp_onion.moves import Move
from xmpp_onion.session.connection import is_fatal
from xmpp_onion.session.moved import raise_if_moved
from xmpp_onion.transport import create_key, sign


def features(document: str | None) -> ET.Element:
    offered = ET.Element("{http://etherx.jabber.org/streams}features")
    if document is not None:
        moved = ET.SubElement(offered, "{urn:xmpp-onion:moved:0}moved")
        moved.text = document
    return offered


@pytest.fixture
def names(tmp_path: Path) -> tuple[OnionAddress, OnionAddress]:
    return create_key(tmp_path / "old"), create_key(tmp_path / "new")


def write(names: tuple[OnionAddress, OnionAddress], place: Path, at: datetime) -> str:
    files = dict(zip(names, (place / "old", place / "new"), strict=True))
    move = Move.write(
        *names,
        at=at,
        certificate="0" * 64,
        sign=lambda who, data: sign(files[who], data),
    )
    return move.document


def test_a_server_that_moved_is_left_at_once_and_told(
    names: tuple[OnionAddress, OnionAddress], tmp_path: Path
) -> None:
    document = write(names, tmp_path, datetime.now(UTC))

    with pytest.raises(MovedError) as caught:
        raise_if_moved(features(document), names[0])

    error = caught.value
    assert is_fatal(error)
    assert error.as_line() == {
        "v": 1,
        "event": "moved",
        "code": 6,
        "old": names[0],
        "new": names[1],
        "what": error.what,
        "why": error.why,
        "fix": error.fix,
    }
    assert "account move" in error.fix


def test_what_cannot_be_proved_is_tried_again_and_not_followed(
    names: tuple[OnionAddress, OnionAddress], tmp_path: Path
) -> None:
    late = write(names, tmp_path, datetime.now(UTC) + timedelta(days=9))

    for document in ("", "nonsense", late):
        with pytest.raises(SessionError, match="cannot prove it") as caught:
            raise_if_moved(features(document), names[0])
        assert not isinstance(caught.value, MovedError)
        assert not is_fatal(caught.value)


def test_a_server_that_says_nothing_of_it_is_where_it_was(
    names: tuple[OnionAddress, OnionAddress],
) -> None:
    raise_if_moved(features(None), names[0])
