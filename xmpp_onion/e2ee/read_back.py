"""What our server shows of this device, read back from it."""

import asyncio
from dataclasses import dataclass

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Pep
from xmpp_onion.e2ee.session_manager import fingerprint_of
from xmpp_onion.e2ee.versions import NAMESPACES

__all__ = ["Shown", "read_back"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One OMEMO version of this device, as everybody who asks sees it.

    Attributes:
        namespace: The version.
        devices: How many devices the account's list has.
        is_listed: Whether this one is among them: else nobody encrypts for it.
        fingerprint: Of the key that is shown for it; empty if none is.
        pre_keys: How many new sessions can begin with it.
    """

    namespace: str
    devices: int
    is_listed: bool
    fingerprint: str
    pre_keys: int


async def read_back(pep: Pep, own: JID, device_id: int) -> tuple[Shown, ...]:
    """Ask our server for our list and bundle, in each version. NETWORK, one flight.

    Raises:
        DeviceListError: It did not answer.
    """

    async def ask(namespace: str) -> Shown:
        listing, bundle = await asyncio.gather(
            pep.fetch_device_list(namespace, own),
            pep.fetch_bundle(namespace, own, device_id),
        )
        return Shown(
            namespace=namespace,
            devices=len(listing.devices),
            is_listed=device_id in listing.devices,
            fingerprint="" if bundle is None else fingerprint_of(bundle.identity_key),
            pre_keys=len(getattr(bundle, "pre_key_ids", ())),
        )

    return tuple(await asyncio.gather(*(ask(each) for each in NAMESPACES)))
