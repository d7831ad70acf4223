"""What an OMEMO operation wants from the network, as values to keep and do later."""

from dataclasses import dataclass, field
from typing import ClassVar

from xmpp_onion.address import JID
from xmpp_onion.e2ee.trust import Device

__all__ = [
    "Effect",
    "RenewSession",
    "SendEmpty",
    "TellTrust",
    "UploadBundle",
    "UploadDeviceList",
    "Withdraw",
]


@dataclass(frozen=True, slots=True)
class UploadBundle:
    """Our bundle has changed: publish the newest one."""

    kind: str = field(default="upload-bundle", init=False)
    payload: str = field(default="", init=False)


@dataclass(frozen=True, slots=True)
class UploadDeviceList:
    """Our device is missing in the account's device list: put it back."""

    kind: str = field(default="upload-device-list", init=False)
    payload: str = field(default="", init=False)


@dataclass(frozen=True, slots=True)
class SendEmpty:
    """A message without text that completes or refreshes a session.

    Attributes:
        to: The bare JID to send it to, in a message with a ``store`` hint.
        element: The ``<encrypted/>`` element, as text.
    """

    to: JID
    element: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TellTrust:
    """Something that verified devices should know about keys (XEP-0450).

    Attributes:
        payload: Whom and what; :func:`~xmpp_onion.e2ee.vouching.read_letter` reads it.
    """

    payload: str = field(repr=False)
    kind: ClassVar[str] = "tell-trust"


@dataclass(frozen=True, slots=True)
class RenewSession:
    """A session does not work, or must not be sent with: begin another.

    Attributes:
        payload: A ``healing.Patient``, as text.
    """

    payload: str = field(repr=False)
    kind: ClassVar[str] = "renew-session"


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A device was distrusted: what waits to be sent must not reach it.

    Attributes:
        device: Which.
    """

    device: Device


Effect = (
    UploadBundle | UploadDeviceList | SendEmpty | TellTrust | RenewSession | Withdraw
)
