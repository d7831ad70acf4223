from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Attachment,
    Message,
    Progress,
    line,
    linked,
    read_event,
    write_event,
)

ONION = str(OnionAddress.from_public_key(bytes(32)))
URL = f"aesgcm://{ONION}:5280/share/abc/photo.jpg#{'0' * 24}{'a' * 64}"


def message(attachment: Attachment) -> Message:
    return Message(
        id="1",
        sender=JID(f"alice@{ONION}"),
        to=JID(f"bob@{ONION}"),
        namespace="urn:xmpp:omemo:2",
        device=1,
        fingerprint="f" * 64,
        trust="tofu",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        text=attachment.url,
        attachment=attachment,
    )


def test_a_text_that_is_a_link_is_a_file() -> None:
    found = linked(URL)

    assert found == Attachment(url=URL, name="photo.jpg")


@pytest.mark.parametrize(
    "text", [None, "", "hello", f"see {URL}", f"{URL}\nmore", "aesgcm://"]
)
def test_any_other_text_is_none(text: str | None) -> None:
    assert linked(text) is None


async def test_an_attachment_is_fetched_by_who_handed_it_out() -> None:
    asked: list[tuple[Attachment, Path, int]] = []

    async def fetch(
        attachment: Attachment,
        folder: Path,
        progress: Progress | None,
        limit_bytes: int,
        *,
        expires_at: datetime | None = None,
    ) -> Path:
        assert progress is expires_at is None
        asked.append((attachment, folder, limit_bytes))
        return folder / "x"

    kept = Attachment(url=URL, name="x", size=3, sha256="b" * 64, seconds=1.5)
    event = read_event(write_event(message(kept)), fetch=fetch)
    assert isinstance(event, Message)
    assert event.attachment is not None
    saved = await event.attachment.save("here", limit_bytes=9)

    assert saved == Path("here/x")
    assert asked == [(kept, Path("here"), 9)]


async def test_nothing_is_fetched_by_an_attachment_that_came_from_nowhere() -> None:
    with pytest.raises(RuntimeError, match="client"):
        await Attachment(url=URL).save("here")


def test_a_file_has_a_line_of_its_own() -> None:
    told = line(message(Attachment(url=URL, name="x", size=3)))

    assert told["event"] == "file"
    assert (told["name"], told["size"], told["url"]) == ("x", 3, URL)
    assert (told["from"], told["room"], told["encrypted"]) == (
        f"alice@{ONION}",
        None,
        True,
    )
    assert "body" not in told


def test_the_key_is_in_no_repr() -> None:
    assert "a" * 64 not in repr(message(Attachment(url=URL)))
