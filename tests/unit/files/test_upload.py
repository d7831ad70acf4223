"""What is encrypted while a file is sent, also when a part of it is sent again."""

import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.errors import FileChangedError
from xmpp_onion.files import Journal, Lane, Source, upload_chunks
from xmpp_onion.files.parcel import Parcel
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.loopback import LoopbackDialer

PLACE = Place(OnionAddress.from_public_key(bytes(32)), 5280, "/share/x")
CHUNK = 1024 * 1024


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Database.open(tmp_path / "account" / "store.db") as database:
        yield Journal(database, Keys(database))


class Twice(Lane):
    """Takes each object as far as it can be had; then again, as after a break."""

    first: bytes
    second: bytes

    def __init__(self, between: Callable[[], None]) -> None:
        super().__init__(LoopbackDialer(0), "alice")
        self._between = between

    async def send(self, parcel: Parcel) -> None:
        if parcel.again is not None:
            Twice.first, Twice.second = b"".join(parcel.pieces()), b""
            self._between()
            for piece in parcel.again():
                Twice.second += piece
        await parcel.done(PLACE)


async def test_a_chunk_that_goes_on_is_the_same_chunk(
    journal: Journal, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(CHUNK))

    await send(journal, source, lambda: None)

    assert Twice.first == Twice.second


@pytest.mark.parametrize("place", [0, 300_000, CHUNK - 1])
async def test_no_nonce_encrypts_another_text_however_a_file_was_changed(
    journal: Journal, tmp_path: Path, place: int
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(bytes(CHUNK))
    before = source.stat()

    def change() -> None:  # so that its times do not tell
        with source.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(FileChangedError):
        await send(journal, source, change)

    assert Twice.first.startswith(Twice.second)
    assert len(Twice.second) <= place + 12


async def send(journal: Journal, path: Path, between: Callable[[], None]) -> None:
    async def ask(_size: int) -> None:
        raise AssertionError

    await upload_chunks(
        lambda: Twice(between),
        ask,  # type: ignore[arg-type]  # nobody asks
        Source(path),
        chunk_size=CHUNK,
        journal=journal,
        circuits=1,
    )
