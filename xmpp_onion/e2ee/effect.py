"""What an OMEMO operation wants from the network, as values to keep and do later."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from xmpp_onion.address import JID
from xmpp_onion.e2ee.trust import Device

__all__ = [
    "CheckNodes",
    "Effect",
    "RenewSession",
    "SendEmpty",
    "TellTrust",
    "UploadBundle",
    "UploadDeviceList",
    "Withdraw",
    "withdrawn",
]


@dataclass(frozen=True, slots=True)
class UploadBundle:
    """Our bundle of an OMEMO version has changed: publish the newest one.

    Attributes:
        payload: The namespace of the version.
    """

    payload: str
    kind: ClassVar[str] = "upload-bundle"


@dataclass(frozen=True, slots=True)
class UploadDeviceList:
    """Our device, or its label, is missing in a device list: put it there.

    Attributes:
        payload: The namespace of the list's OMEMO version.
    """

    payload: str
    kind: ClassVar[str] = "upload-device-list"


@dataclass(frozen=True, slots=True)
class CheckNodes:
    """Our nodes were made: see that strangers can read them.

    Attributes:
        payload: The namespaces of the nodes' OMEMO versions, one space between.
    """

    payload: str
    kind: ClassVar[str] = "check-nodes"


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
    UploadBundle
    | UploadDeviceList
    | CheckNodes
    | SendEmpty
    | TellTrust
    | RenewSession
    | Withdraw
)


def withdrawn(device: Device, known: Iterable[Device]) -> list[Withdraw]:
    """Return what is to be done when a device is distrusted.

    The decision is about its key, and an account may list one under several numbers.

    Args:
        device: The device, with its level.
        known: All known devices of its owner.
    """
    twins = (one for one in known if one.fingerprint == device.fingerprint)
    return [Withdraw(replace(twin, trust=device.trust)) for twin in twins]
