"""The index of chunks: whatever it says, it makes one whole file or none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.errors import FileDamagedError
from xmpp_onion.files.index import (
    CHUNK_BYTES,
    INDEX_BYTES,
    Index,
    choose_chunk_size,
)

ONION = OnionAddress.from_public_key(bytes(32))
OTHER = OnionAddress.from_public_key(bytes(range(32)))
AT = Place(ONION, 5280, "/share/index")
MEBIBYTE = 1024 * 1024


def make(size: int, chunk_size: int = CHUNK_BYTES, name: str = "film") -> Index:
    count = -(-size // chunk_size)
    places = tuple(Place(ONION, 5280, f"/share/{n}") for n in range(count))
    return Index(name, size, bytes(32), chunk_size, bytes(32), places)


@given(
    st.integers(1, 2**32), st.integers(64 * 1024, 8 * MEBIBYTE), st.text(max_size=99)
)
def test_every_index_reads_as_it_was_written_and_its_chunks_make_the_file(
    size: int, chunk_size: int, name: str
) -> None:
    if size > 500 * chunk_size:
        size %= 500 * chunk_size
        size += 1
    index = make(size, chunk_size, name.encode(errors="replace").decode())

    numbers = range(len(index.places))

    assert Index.read(index.write(), at=AT) == index
    assert sum(index.size_of(number) for number in numbers) == size
    assert all(0 < index.size_of(number) <= chunk_size for number in numbers)
    ends = [index.start_of(number) + index.size_of(number) for number in numbers]
    assert [index.start_of(number) for number in numbers] == [0, *ends[:-1]]


@given(st.integers(0, 2**28), st.integers(64 * 1024 + 28, 2**32), st.text(max_size=99))
def test_padding_shows_a_step_of_two_mebibytes_or_a_power_of_two_and_no_name(
    size: int, limit: int, name: str
) -> None:
    chunk_size = choose_chunk_size(size, limit, padded=True)
    if not chunk_size:
        return  # for a server that takes too little at once
    count = max(1, -(-size // chunk_size))
    places = tuple(Place(ONION, 5280, f"/share/{n:04}") for n in range(count))
    name = name.encode(errors="replace").decode()
    index = Index(name, size, bytes(32), chunk_size, bytes(32), places, padded=True)
    nameless = Index("", size, bytes(32), chunk_size, bytes(32), places, padded=True)

    assert chunk_size + 28 <= limit
    assert {index.held_by(number) for number in range(count)} == {chunk_size}
    assert size <= count * chunk_size < max(64 * 1024 + 1, 2 * size, size + CHUNK_BYTES)
    if count == 1 and limit > 2 * CHUNK_BYTES:
        assert chunk_size.bit_count() == 1
    assert Index.read(index.write(), at=AT) == index
    assert len(index.write()) % 4096 == 0
    if count == 1:
        assert len(index.write()) == len(nameless.write())


@given(st.integers(1, 2**40), st.integers(0, 2**32))
def test_a_chunk_size_fits_the_server_the_memory_and_the_file(
    size: int, limit: int
) -> None:
    chunk = choose_chunk_size(size, limit)

    if chunk:
        assert chunk + 28 <= limit
        assert chunk <= 8 * MEBIBYTE
        assert -(-size // chunk) <= 8192
        assert Index.read(make(chunk * 2, chunk).write(), at=AT).chunk_size == chunk
    else:
        assert limit < 64 * 1024 + 28 or size > 8192 * min(limit - 28, 8 * MEBIBYTE)


def test_a_gigabyte_goes_in_chunks_of_two_mebibytes() -> None:
    assert choose_chunk_size(10**9, 16 * MEBIBYTE) == 2 * MEBIBYTE


def test_the_largest_index_fits_its_limit() -> None:
    url = f"http://{ONION}:5280/file_share/{'x' * 36}/{'x' * 32}"
    assert 8192 * (len(url) + 4) < INDEX_BYTES


WRONG: dict[str, object] = {
    "v": [0, 2, "1", None],
    "name": [None, 1, []],
    "size": [0, -1, 1.5, "9", True, None, 9 * CHUNK_BYTES, 10**30],
    "sha256": ["", "zz", "00" * 31, 5, None],
    "chunk_size": [0, -1, 1, True, "x", 64 * MEBIBYTE, 2**63, None],
    "key": ["", "00" * 31, "00" * 33, "x" * 64, None],
    "chunks": [
        None, [], "x", [None] * 3, [1, 2, 3], ["x"] * 3, {},
        ["http://example.org/x"] * 3, ["http://127.0.0.1/x"] * 3,
        [f"http://{OTHER}:5280/x"] * 3, [f"http://{ONION}:22/x"] * 3,
        [f"http://{ONION}:5280/x"] * 4, [f"http://{ONION}:5280/x"] * 2,
        [f"http://{ONION}:5280/x"] * 2 + [f"http://{OTHER}:5280/x"],
        ["file:///etc/passwd"] * 3, [f"https://{ONION}:5280/x"] * 3,
    ],
}  # fmt: skip
CASES = [
    (name, value)
    for name, values in WRONG.items()
    for value in values  # type: ignore[attr-defined]  # lists, all of them
]


@pytest.mark.parametrize(("name", "value"), CASES, ids=ascii)
def test_what_makes_no_file_is_refused(name: str, value: object) -> None:
    values = json.loads(make(2 * CHUNK_BYTES + 1).write())

    for changed in (
        {**values, name: value},
        {k: values[k] for k in values if k != name},
    ):
        with pytest.raises(FileDamagedError):
            Index.read(json.dumps(changed).encode(), at=AT)


@pytest.mark.parametrize("value", [0, 1, "true", None, []])
def test_padding_is_said_by_a_truth_value_or_not_at_all(value: object) -> None:
    values = json.loads(make(2 * CHUNK_BYTES + 1).write())
    values["padded"] = value

    with pytest.raises(FileDamagedError):
        Index.read(json.dumps(values).encode(), at=AT)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    with pytest.raises(FileDamagedError):
        Index.read(data, at=AT)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"v":1}', b"null", b"[]", b'"x"'])
def test_other_json_is_refused(data: bytes) -> None:
    with pytest.raises(FileDamagedError):
        Index.read(data, at=AT)


def test_neither_key_nor_place_is_in_a_repr() -> None:
    shown = repr(make(1))

    assert "/share" not in shown
    assert "\\x00" not in shown
