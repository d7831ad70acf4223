"""The same work with omemo-dr, the library of Gajim, and a store in memory for it."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from omemo_dr.const import OMEMOTrust
from omemo_dr.session_manager import OMEMOSessionManager
from omemo_dr.state.prekeyrecord import PreKeyRecord
from omemo_dr.state.sessionrecord import SessionRecord
from omemo_dr.state.signedprekeyrecord import SignedPreKeyRecord
from omemo_dr.state.store import Store
from omemo_dr.structs import OMEMOConfig

__all__ = ["MemoryStore", "make", "run", "run_skipped"]

NAMESPACE = "eu.siacs.conversations.axolotl"
TEXT = "x" * 96
READERS = 3

Measured = Callable[[dict[str, list[float]], str, int], AbstractContextManager[None]]


class MemoryStore(Store):
    """Everything in dicts, as the bytes that a disk would get."""

    def __init__(self) -> None:
        self.identity = None
        self.pre_keys: dict[int, bytes] = {}
        self.signed: dict[int, tuple[bytes, float]] = {}
        self.sessions: dict[tuple[str, int], bytes] = {}

    def set_our_identity(self, our_device_id, our_identity_key_pair):
        self.identity = our_device_id, our_identity_key_pair

    def get_identity_key_pair(self):
        return self.identity[1]

    def get_our_device_id(self):
        return self.identity[0]

    def needs_init(self):
        return self.identity is None

    # Devices and trust: everybody is trusted, and nothing is kept.

    def save_identity(self, *_): ...
    def delete_identity(self, *_): ...
    def set_trust(self, *_): ...
    def set_identity_last_seen(self, *_): ...
    def set_active_state(self, *_): ...
    def set_inactive(self, *_): ...

    def is_trusted(self, *_):
        return True

    def is_trusted_identity(self, *_):
        return True

    def get_trust_for_identity(self, *_):
        return OMEMOTrust.VERIFIED

    def get_identity_infos(self, *_):
        return []

    def get_active_device_tuples(self):
        return []

    def get_unacknowledged_count(self, *_):
        return 0

    # Pre-keys.

    def get_pre_key_count(self):
        return len(self.pre_keys)

    def get_current_pre_key_id(self):
        return max(self.pre_keys, default=0)

    def load_pre_key(self, pre_key_id):
        return PreKeyRecord.from_bytes(self.pre_keys[pre_key_id])

    def load_pending_pre_keys(self):
        return [*map(PreKeyRecord.from_bytes, self.pre_keys.values())]

    def store_pre_key(self, pre_key_id, pre_key_record):
        self.pre_keys[pre_key_id] = pre_key_record.serialize()

    def contains_pre_key(self, pre_key_id):
        return pre_key_id in self.pre_keys

    def remove_pre_key(self, pre_key_id):
        self.pre_keys.pop(pre_key_id, None)

    # Signed pre-keys.

    def load_signed_pre_key(self, signed_pre_key_id):
        return SignedPreKeyRecord.from_bytes(self.signed[signed_pre_key_id][0])

    def load_signed_pre_keys(self):
        return [SignedPreKeyRecord.from_bytes(one) for one, _ in self.signed.values()]

    def store_signed_pre_key(self, signed_pre_key_id, signed_pre_key_record):
        record = signed_pre_key_record.serialize()
        self.signed[signed_pre_key_id] = record, time.time()

    def contains_signed_pre_key(self, signed_pre_key_id):
        return signed_pre_key_id in self.signed

    def get_current_signed_pre_key_id(self):
        return max(self.signed)

    def get_signed_pre_key_timestamp(self, signed_pre_key_id):
        return self.signed[signed_pre_key_id][1]

    def remove_signed_pre_key(self, signed_pre_key_id):
        self.signed.pop(signed_pre_key_id, None)

    def remove_old_signed_pre_keys(self, timestamp): ...

    # Sessions.

    def load_session(self, recipient_id, device_id):
        found = self.sessions.get((recipient_id, device_id))
        return SessionRecord(serialized=found) if found else SessionRecord()

    def store_session(self, recipient_id, device_id, session_record):
        self.sessions[recipient_id, device_id] = session_record.serialize()

    def contains_session(self, recipient_id, device_id):
        return (recipient_id, device_id) in self.sessions

    def delete_session(self, recipient_id, device_id):
        self.sessions.pop((recipient_id, device_id), None)

    def delete_all_sessions(self, recipient_id): ...

    def get_inactive_sessions_keys(self, *_):
        return []


def make(jid: str) -> OMEMOSessionManager:
    """Return a device that renews nothing while it is measured."""
    config = OMEMOConfig(
        default_prekey_amount=100,
        min_prekey_amount=80,
        spk_archive_seconds=10**6,
        spk_cycle_seconds=10**6,
        unacknowledged_count=10**6,
    )
    return OMEMOSessionManager(jid, MemoryStore(), config)


def run(count: int, figures: dict[str, list[float]], measured: Measured) -> None:
    """Measure sending to ``count`` devices of one person."""
    sender = make("sender@x")
    names = ["reader@x"] * count
    readers = [make(name) for name in names]
    bundles = [reader.get_bundle(NAMESPACE) for reader in readers]
    for name, reader in zip(names, readers, strict=True):
        sender.add_device(name, reader.get_our_device())
    sender.set_group_members("room@x", set(names))

    with measured(figures, f"cold {count}", count):
        for name, bundle in zip(names, bundles, strict=True):
            sender.build_session(name, bundle)
        message = sender.encrypt("room@x", TEXT, groupchat=True)
    for reader in readers[:READERS]:
        with measured(figures, f"first {count}", 1):
            assert reader.decrypt_message(message, "sender@x")[0] == TEXT
    for _ in range(10):
        with measured(figures, f"warm {count}", count):
            message = sender.encrypt("room@x", TEXT, groupchat=True)
        for reader in readers[:READERS]:
            with measured(figures, f"decrypt {count}", 1):
                assert reader.decrypt_message(message, "sender@x")[0] == TEXT


def run_skipped(
    skips: Sequence[int], figures: dict[str, list[float]], measured: Measured
) -> None:
    """Measure decrypting with skipped keys in the session."""
    sender, reader = make("skipper@x"), make("late@x")
    sender.add_device("late@x", reader.get_our_device())
    sender.build_session("late@x", reader.get_bundle(NAMESPACE))
    reader.decrypt_message(sender.encrypt("late@x", TEXT, groupchat=False), "skipper@x")
    skipped = 0
    for skip in skips:
        for _ in range(skip - skipped):
            sender.encrypt("late@x", TEXT, groupchat=False)
        message = sender.encrypt("late@x", TEXT, groupchat=False)
        reader.decrypt_message(message, "skipper@x")
        skipped = skip
        for _ in range(20):
            message = sender.encrypt("late@x", TEXT, groupchat=False)
            with measured(figures, f"with {skip} skipped", 1):
                reader.decrypt_message(message, "skipper@x")
