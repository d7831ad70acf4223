"""Which keys move, by their names."""

import pytest

from xmpp_onion import JID
from xmpp_onion.e2ee.portable import DEVICE_ID, FORMER, portable

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
NEW, OLD = "urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"


@pytest.mark.parametrize(
    "key",
    ["/ikp/key", "/ikp/is_seed", f"/trust/{BOB}/abc", f"/trust/{ALICE}/abc",
     f"/devices/{BOB}/list", f"/devices/{BOB}/5/identity_key",
     "/xmpp-onion/policies", "/xmpp-onion/decided", f"/xmpp-onion/barred/{BOB}/ab",
     f"/xmpp-onion/owner/{'ab' * 32}", FORMER],
)  # fmt: skip
def test_the_identity_and_what_was_decided_moves(key: str) -> None:
    assert portable(ALICE)(key)


@pytest.mark.parametrize(
    "key",
    [DEVICE_ID, "/xmpp-onion/resource", "/xmpp-onion/published",
     "/xmpp-onion/epoch", "/xmpp-onion/fresh/x", "/xmpp-onion/spent-pre-keys",
     "/xmpp-onion/upload/1", "/xmpp-onion/draft/1", "/xmpp-onion/attempts",
     "/xmpp-onion/generation-private", "/xmpp-onion/renewed",
     f"/devices/{ALICE}/list", f"/devices/{ALICE}/5/identity_key",
     f"/{NEW}/{BOB}/5/session", f"/{OLD}/{BOB}/5/double_ratchet",
     f"/{NEW}/pre_key_ids", f"/{OLD}/signed_pre_key_ids", f"/{NEW}/pre-keys",
     f"/queue/{NEW}", "anything"],
)  # fmt: skip
def test_no_session_no_pre_key_and_no_number_moves(key: str) -> None:
    assert not portable(ALICE)(key)
