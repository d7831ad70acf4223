import io
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.files.sound import Sound, read_sound


def wav(
    seconds: float, *, rate: int = 8000, channels: int = 1, width: int = 2
) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(int(seconds * rate) * channels * width))
    return made.getvalue()


def page(position: int, body: bytes, *, flags: int = 0, serial: int = 7) -> bytes:
    table = [255] * (len(body) // 255) + [len(body) % 255]
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, position, serial, 0, 0)
    return head + bytes([len(table), *table]) + body


def opus(samples: int, *, skipped: int = 312) -> bytes:
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, skipped, 16_000, 0, 0)
    return (
        page(0, head, flags=2)
        + page(0, b"OpusTags" + bytes(20))
        + page(samples // 2, bytes(4000))
        + page(samples, b"OggS" + bytes(4000), flags=4)
    )


def sound_of(tmp_path: Path, data: bytes) -> Sound:
    path = tmp_path / "note"
    path.write_bytes(data)
    return read_sound(path)


@pytest.mark.parametrize(("rate", "channels", "width"), [(8000, 1, 1), (44_100, 2, 2)])
def test_a_wav_tells_how_long_it_lasts(
    tmp_path: Path, rate: int, channels: int, width: int
) -> None:
    data = wav(2.5, rate=rate, channels=channels, width=width)

    assert sound_of(tmp_path, data) == Sound("audio/wav", ".wav", 2.5)


@pytest.mark.parametrize("said", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_what_came_through_a_pipe_is_counted(tmp_path: Path, said: int) -> None:
    data = bytearray(wav(3))
    data[40:44] = said.to_bytes(4, "little")

    assert sound_of(tmp_path, bytes(data)).seconds == 3


def test_what_stands_before_and_behind_the_sound_does_not_count(tmp_path: Path) -> None:
    data = wav(1)
    listed = data[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + data[36:]

    assert sound_of(tmp_path, listed + b"LIST" + bytes(1000)).seconds == 1


def test_an_opus_tells_how_long_it_lasts(tmp_path: Path) -> None:
    found = sound_of(tmp_path, opus(48_000 * 7 + 312))

    assert found == Sound("audio/ogg", ".ogg", 7)


BROKEN = {
    "a rate of nothing": wav(1).replace(struct.pack("<I", 8000), bytes(4)),
    "a rate that contradicts": wav(1).replace(struct.pack("<I", 16_000), b"\1\2\3\4"),
    "no format": wav(1).replace(b"fmt ", b"junk"),
    "no sound": wav(1)[:36],
    "a head alone": wav(1)[:44],
    "an endless list": b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\xff" * 500,
    "a year": opus(48_000 * 3600 * 24 * 365),
    "less than is skipped": opus(100),
    "a negative position": opus(-5),
    "a last page that is cut": opus(48_000)[:-1],
    "something behind it": opus(48_000) + b"x",
    "another stream at its end": opus(48_000) + page(9, b"x", serial=8)[:-1],
    "no last page": page(0, b"OpusHead\1\1\0\0")[:30],
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_not_as_it_should_be_has_no_length(tmp_path: Path, data: bytes) -> None:
    assert sound_of(tmp_path, data).seconds is None


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x7fELF", b"fLaC" + bytes(99)])
def test_what_is_not_known_has_no_type(tmp_path: Path, data: bytes) -> None:
    assert sound_of(tmp_path, data) == Sound()


@given(st.sampled_from([wav(1), opus(48_000)]), st.data())
def test_no_damage_makes_it_raise(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(spoiled) - 1, 120)))
        spoiled[at] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()

    found = sound_of(folder, bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))]))

    assert found.seconds is None or 0 < found.seconds < 24 * 3600
