"""What a recording says of itself: its type, and how long it lasts.

Read from the head of a WAV file, or the first and the last page of an Ogg with Opus,
and from nothing else: no sound is decoded. Whatever is not as its specification says
is of no known type, or of no known length.

Source: RFC 7845 (Ogg Opus), RFC 3533 (Ogg); Microsoft's "Multimedia Programming
Interface and Data Specifications 1.0" (WAV).
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["Sound", "read_sound"]

# Bytes in which the sound of a WAV has to begin. ffmpeg puts a list before it.
_HEAD_BYTES: Final = 4096
# An Ogg page has 27 bytes, 255 for its table, and 255 times 255 (RFC 3533, 6).
_PAGE_BYTES: Final = 27 + 255 + 255 * 255
_PAGE: Final = struct.Struct("<4sBBqIIIB")
_FORMAT: Final = struct.Struct("<HHIIHH")
# PCM, IEEE float, A-law, mu-law, and "see the extension".
_FORMATS: Final = frozenset({1, 3, 6, 7, 0xFFFE})
_CHANNELS: Final = 8
_RATES: Final = range(4000, 384_001)
# Samples in a second of Opus, whatever was recorded (RFC 7845, section 4).
_OPUS_RATE: Final = 48_000
_FIRST_PAGE: Final = 2
_OPUS_HEAD: Final = struct.Struct("<8sBBH")
# Of a day or more nobody made a note; and the number fits everywhere.
_LONGEST: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Sound:
    """What is known of a recording.

    Attributes:
        media_type: Such as ``audio/wav``; empty if it is none that is known here.
        ending: Of its name, with the dot; empty as well.
        seconds: How long it lasts; None if it does not say.
    """

    media_type: str = ""
    ending: str = ""
    seconds: float | None = None


def read_sound(path: Path) -> Sound:
    """Return what a recording says of itself.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        size = file.seek(0, 2)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            return Sound("audio/wav", ".wav", _bounded(_wav_seconds(head, size)))
        if head[:4] == b"OggS" and b"OpusHead" in head[27:64]:
            return Sound("audio/ogg", ".ogg", _bounded(_opus_seconds(file, head, size)))
    return Sound()


def _bounded(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds < _LONGEST else None


def _wav_seconds(head: bytes, size: int) -> float | None:
    """Count what follows the head: who records into a pipe cannot write its length."""
    at, rate = 12, 0
    while at + 8 <= len(head):
        name = head[at : at + 4]
        length = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            there = size - at
            held = length if 0 < length < there else there
            return held / rate if rate else None
        if name == b"fmt ":
            rate = _bytes_per_second(head[at : at + min(length, _FORMAT.size)])
        at += length + length % 2
    return None


def _bytes_per_second(data: bytes) -> int:
    """Return what a second takes; zero if the format contradicts itself."""
    if len(data) < _FORMAT.size:
        return 0
    kind, channels, rate, each_second, each_frame, bits = _FORMAT.unpack(data)
    is_sound = (
        kind in _FORMATS
        and 0 < channels <= _CHANNELS
        and rate in _RATES
        and bits in {8, 16, 24, 32, 64}
        and each_frame == channels * bits // 8
        and each_second == rate * each_frame
    )
    return int(each_second) if is_sound else 0


def _opus_seconds(file: BinaryIO, head: bytes, size: int) -> float | None:
    first = _page(head)
    if first is None:
        return None
    flags, _, serial, body = first
    if flags != _FIRST_PAGE or len(body) < _OPUS_HEAD.size:
        return None
    magic, version, channels, skipped = _OPUS_HEAD.unpack_from(body)
    if magic != b"OpusHead" or version >> 4 or not channels:
        return None
    position = _last_position(file, serial, size)
    return None if position is None else (position - skipped) / _OPUS_RATE


def _last_position(file: BinaryIO, serial: int, size: int) -> int | None:
    """Return the sample at which the page ends that ends with the file."""
    file.seek(max(0, size - _PAGE_BYTES))
    tail = file.read(_PAGE_BYTES)
    at = len(tail)
    while (at := tail.rfind(b"OggS", 0, at)) >= 0:
        page = _page(tail[at:])
        if page is not None and page[2] == serial:
            length = _PAGE.size + tail[at + _PAGE.size - 1] + len(page[3])
            return page[1] if at + length == len(tail) else None
    return None


def _page(data: bytes) -> tuple[int, int, int, bytes] | None:
    """Return flags, position, serial number and body of a page; None if it is none."""
    if len(data) < _PAGE.size:
        return None
    magic, version, flags, position, serial, _, _, count = _PAGE.unpack_from(data)
    table = data[_PAGE.size : _PAGE.size + count]
    start = _PAGE.size + count
    body = data[start : start + sum(table)]
    if magic != b"OggS" or version or len(body) != sum(table):
        return None
    return flags, position, serial, body
