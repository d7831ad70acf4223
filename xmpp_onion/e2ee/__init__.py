"""End-to-end encryption: OMEMO over python-omemo, one device for each account.

The names are loaded when they are first asked for: the OMEMO libraries take a
second to import, and most commands and tests need only the trust policies.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmpp_onion.e2ee.decryption import Decrypted
    from xmpp_onion.e2ee.devices import Pep, SlixmppPep
    from xmpp_onion.e2ee.effect import (
        CheckNodes,
        Effect,
        RenewSession,
        SendEmpty,
        TellTrust,
        UploadBundle,
        UploadDeviceList,
        Withdraw,
    )
    from xmpp_onion.e2ee.encryption import Encrypted
    from xmpp_onion.e2ee.envelope import Plain
    from xmpp_onion.e2ee.far_witness import FarWitness
    from xmpp_onion.e2ee.header import essence, reader_ids, sender_ids, withdraw
    from xmpp_onion.e2ee.nodes import Nodes
    from xmpp_onion.e2ee.omemo import Omemo, quiet_libraries
    from xmpp_onion.e2ee.parts import room_within
    from xmpp_onion.e2ee.patience import Patience
    from xmpp_onion.e2ee.publisher import closed_nodes
    from xmpp_onion.e2ee.quota import Quota
    from xmpp_onion.e2ee.read_back import Shown
    from xmpp_onion.e2ee.room_encryption import RoomEncrypted
    from xmpp_onion.e2ee.trust import (
        Device,
        Trust,
        TrustLevel,
        accepts,
        parse_fingerprint,
        parse_label,
        recipients,
    )
    from xmpp_onion.e2ee.trust_message_uri import is_trust_message
    from xmpp_onion.e2ee.trust_text import Entry, entries_in, entries_of, read_entries
    from xmpp_onion.e2ee.uri import TrustUri, check_scan, check_words
    from xmpp_onion.e2ee.versions import NAMESPACES, OMEMO_2, OMEMO_OLD

__all__ = [
    "NAMESPACES",
    "OMEMO_2",
    "OMEMO_OLD",
    "CheckNodes",
    "Decrypted",
    "Device",
    "Effect",
    "Encrypted",
    "Entry",
    "FarWitness",
    "Nodes",
    "Omemo",
    "Patience",
    "Pep",
    "Plain",
    "Quota",
    "RenewSession",
    "RoomEncrypted",
    "SendEmpty",
    "Shown",
    "SlixmppPep",
    "TellTrust",
    "Trust",
    "TrustLevel",
    "TrustUri",
    "UploadBundle",
    "UploadDeviceList",
    "Withdraw",
    "accepts",
    "check_scan",
    "check_words",
    "closed_nodes",
    "entries_in",
    "entries_of",
    "essence",
    "is_trust_message",
    "parse_fingerprint",
    "parse_label",
    "quiet_libraries",
    "read_entries",
    "reader_ids",
    "recipients",
    "room_within",
    "sender_ids",
    "withdraw",
]

_HOME = {
    "CheckNodes": "effect",
    "Decrypted": "decryption",
    "Device": "trust",
    "Effect": "effect",
    "Encrypted": "encryption",
    "Entry": "trust_text",
    "FarWitness": "far_witness",
    "NAMESPACES": "versions",
    "Nodes": "nodes",
    "OMEMO_2": "versions",
    "OMEMO_OLD": "versions",
    "Omemo": "omemo",
    "Patience": "patience",
    "Pep": "devices",
    "Plain": "envelope",
    "Shown": "read_back",
    "Quota": "quota",
    "RenewSession": "effect",
    "RoomEncrypted": "room_encryption",
    "SendEmpty": "effect",
    "SlixmppPep": "devices",
    "Trust": "trust",
    "TellTrust": "effect",
    "TrustLevel": "trust",
    "TrustUri": "uri",
    "UploadBundle": "effect",
    "UploadDeviceList": "effect",
    "Withdraw": "effect",
    "accepts": "trust",
    "check_scan": "uri",
    "check_words": "uri",
    "closed_nodes": "publisher",
    "parse_fingerprint": "trust",
    "parse_label": "trust",
    "quiet_libraries": "omemo",
    "entries_in": "trust_text",
    "entries_of": "trust_text",
    "read_entries": "trust_text",
    "essence": "header",
    "is_trust_message": "trust_message_uri",
    "reader_ids": "header",
    "recipients": "trust",
    "room_within": "parts",
    "sender_ids": "header",
    "withdraw": "header",
}


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
