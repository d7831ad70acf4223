"""A chunk on its way into a draft: what pads it is authentic, and no part of a file."""

import tempfile

from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.files.assembly import _Region
from xmpp_onion.files.index import Index
from xmpp_onion.files.upload import _blank

PLACE = Place(OnionAddress.from_public_key(bytes(32)), 5280, "/share/x")
# Bytes of a chunk: fewer than a real one, so that there are many cases.
SMALL = 50


@given(
    content=st.binary(max_size=4 * SMALL),
    padded=st.booleans(),
    step=st.integers(1, 2 * SMALL),
    chunk_size=st.integers(SMALL, 4 * SMALL),
)
def test_padded_or_not_a_file_is_what_it_was_however_its_chunks_come(
    *, content: bytes, padded: bool, step: int, chunk_size: int
) -> None:
    count = max(1, -(-len(content) // chunk_size))
    index = Index(
        "film", len(content), bytes(32), chunk_size, bytes(32), (PLACE,) * count, padded
    )
    notes = bytes(range(count))
    with tempfile.TemporaryFile() as draft:
        draft.write(bytes(len(content)) + notes)
        draft.flush()
        for number in reversed(range(count)):
            start, held = index.start_of(number), index.held_by(number)
            part = content[start : start + chunk_size]
            pieces = [part, *_blank(held - len(part))]
            sealed = b"".join(index.cipher.seal(number, pieces))
            region = _Region(index, number, draft.fileno())
            for at in range(0, len(sealed), step):
                region.write(sealed[at : at + step])
            region.finish()
        draft.seek(0)

        assert draft.read() == content + notes
