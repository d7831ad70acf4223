"""Files: encrypted as they stream, in objects at an onion, over several circuits."""

from xmpp_onion.files.cipher import TAG_BYTES
from xmpp_onion.files.download import download
from xmpp_onion.files.http import Dialer, Pace
from xmpp_onion.files.lane import Lane
from xmpp_onion.files.names import safe_name
from xmpp_onion.files.source import Source
from xmpp_onion.files.upload import upload_single

__all__ = [
    "TAG_BYTES",
    "Dialer",
    "Lane",
    "Pace",
    "Source",
    "download",
    "safe_name",
    "upload_single",
]
