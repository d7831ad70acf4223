"""Files: encrypted as they stream, in objects at an onion, over several circuits."""

from xmpp_onion.files.cipher import TAG_BYTES
from xmpp_onion.files.convoy import LANES
from xmpp_onion.files.download import download, drafts_of
from xmpp_onion.files.drafts import Drafts
from xmpp_onion.files.index import CHUNK_BYTES, choose_chunk_size
from xmpp_onion.files.journal import Journal
from xmpp_onion.files.lane import Lane
from xmpp_onion.files.names import safe_name
from xmpp_onion.files.page import PAGE_BYTES, fetch_page
from xmpp_onion.files.sound import Sound, read_sound
from xmpp_onion.files.source import Source
from xmpp_onion.files.upload import upload_chunks, upload_single
from xmpp_onion.files.way import Dialer, Pace

__all__ = [
    "CHUNK_BYTES",
    "LANES",
    "PAGE_BYTES",
    "TAG_BYTES",
    "Dialer",
    "Drafts",
    "Journal",
    "Lane",
    "Pace",
    "Sound",
    "Source",
    "choose_chunk_size",
    "download",
    "drafts_of",
    "fetch_page",
    "read_sound",
    "safe_name",
    "upload_chunks",
    "upload_single",
]
