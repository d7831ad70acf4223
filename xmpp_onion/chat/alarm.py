"""What happened to devices and their keys, as events.

A device that appears may be a new phone, or somebody who wants to read along; a key
that changes or turns up at another account hardly ever has a good reason.
"""

from dataclasses import dataclass
from datetime import datetime

from xmpp_onion.address import JID

__all__ = ["KeyChanged", "KeyReuse", "NewDevice", "TrustChanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """An account that we knew has one more device. Told once for each.

    Those of the first contact are not told: they come with the first message. A
    device of our own account is always told, and never believed by itself.

    Attributes:
        sender: Whose device it is.
        device: Its number in the account's device list.
        fingerprint: 64 hex digits, the Curve25519 form of its identity key.
        trust: What the policy made of it: ``tofu``, ``undecided`` or ``distrusted``;
            ``verified`` if it was vouched for or pinned.
        own: Whether it is one of our own account.
        at: When it was noticed, in UTC.
    """

    sender: JID
    device: int
    fingerprint: str
    trust: str
    own: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanged:
    """A device shows another identity key than before. The new one is refused.

    Attributes:
        sender: Whose device it says it is.
        device: Its number.
        fingerprint: Of the key that is refused.
        before: Of the key that we know, and keep.
        trust: ``distrusted``: nothing is encrypted for the new key.
        at: When it was noticed, in UTC.
    """

    sender: JID
    device: int
    fingerprint: str
    before: str
    trust: str = "distrusted"
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReuse:
    """An account shows the identity key of another one. It is refused.

    Who re-publishes somebody's key as his own could pass on that person's messages
    as if he had written them.

    Attributes:
        sender: Who shows it.
        device: The number under which.
        fingerprint: The key's.
        owner: Whose key it was before.
        trust: ``distrusted``: nothing is taken from that device.
        at: When it was noticed, in UTC.
    """

    sender: JID
    device: int
    fingerprint: str
    owner: JID
    trust: str = "distrusted"
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustChanged:
    """A device is believed, or no longer, because another device said so (XEP-0450).

    Attributes:
        sender: Whose device it is.
        device: Its number.
        fingerprint: Its fingerprint.
        trust: ``verified`` or ``distrusted``.
        by: Whose verified device said so: the owner's, or ours.
        at: When, in UTC.
    """

    sender: JID
    device: int
    fingerprint: str
    trust: str
    by: JID
    at: datetime
