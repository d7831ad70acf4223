"""What we publish and send, as elements of either OMEMO version.

What the libraries write, to the letter. Theirs come with the XML schemas by which they
read, and it takes half a second to load those; `published` reads without them.

Source: XEP-0384, sections 5.3 (version 0.9) and 3 (version 0.3).
"""

from base64 import b64encode
from xml.etree import ElementTree as ET

import omemo
import xeddsa
from oldmemo import oldmemo as old
from omemo.message import EncryptedKeyMaterial, KeyExchange
from twomemo import twomemo as new

from xmpp_onion.e2ee.published import DJB_TYPE, NAMES

__all__ = ["write_bundle", "write_device_list", "write_message"]

# The sign of the identity key, in its last byte: the older version keeps it where the
# signature has a bit to spare, for the form of the key that it publishes has none.
_SIGN_BIT = 0x80


def write_device_list(namespace: str, devices: omemo.DeviceList) -> ET.Element:
    """Return a device list as it is published; the older version has no labels."""
    names = NAMES[namespace]
    root = ET.Element(f"{{{namespace}}}{names.devices}")
    for device_id, label in devices.items():
        device = ET.SubElement(root, f"{{{namespace}}}device", id=str(device_id))
        if label is not None and names.is_labelled:
            device.set("label", label.label)
            device.set("labelsig", _base64(label.signature))
    return root


def write_bundle(bundle: omemo.Bundle) -> ET.Element:
    """Return a bundle of ours as it is published."""
    match bundle:
        case new.BundleImpl():
            return _write_bundle(bundle, b"", bundle.bundle.identity_key, b"")
        case old.BundleImpl():
            identity, signature = (
                bundle.bundle.identity_key,
                bytearray(bundle.bundle.signed_pre_key_sig),
            )
            signature[-1] |= identity[-1] & _SIGN_BIT
            curve = xeddsa.ed25519_pub_to_curve25519_pub(identity)
            return _write_bundle(bundle, DJB_TYPE, curve, bytes(signature))
    raise TypeError("a bundle of another version")


def _write_bundle(
    bundle: new.BundleImpl | old.BundleImpl,
    start: bytes,
    identity: bytes,
    signature: bytes,
) -> ET.Element:
    names, keys = NAMES[bundle.namespace], bundle.bundle
    place = f"{{{bundle.namespace}}}"
    root = ET.Element(f"{place}bundle")

    def add(parent: ET.Element, name: str, value: bytes, **ids: str) -> None:
        ET.SubElement(parent, f"{place}{name}", ids).text = _base64(value)

    signed_id = {names.signed_id: str(bundle.signed_pre_key_id)}
    add(root, names.signed, start + keys.signed_pre_key, **signed_id)
    add(root, names.signature, signature or keys.signed_pre_key_sig)
    add(root, names.identity, start + identity)
    pre_keys = ET.SubElement(root, f"{place}{names.pre_keys}")
    for key in keys.pre_keys:
        key_id = {names.pre_key_id: str(bundle.pre_key_ids[key])}
        add(pre_keys, names.pre_key, start + key, **key_id)
    return root


def write_message(message: omemo.Message) -> ET.Element:
    """Return the ``<encrypted/>`` element of a message."""
    place = f"{{{message.namespace}}}"
    root = ET.Element(f"{place}encrypted")
    header = ET.SubElement(root, f"{place}header", sid=str(message.device_id))
    if message.namespace == new.NAMESPACE:
        _add_keys(header, message)
    else:
        _add_old_keys(header, message)
    match message.content:
        case new.ContentImpl(empty=False) | old.ContentImpl(empty=False) as content:
            payload = ET.SubElement(root, f"{place}payload")
            payload.text = _base64(content.ciphertext)
    return root


def _add_keys(header: ET.Element, message: omemo.Message) -> None:
    """Add all keys, by account, and look at each once.

    The library goes over all of them again for each account, which takes longer than
    to encrypt where a room has a hundred members.
    """
    place = f"{{{message.namespace}}}"
    groups: dict[str, ET.Element] = {}
    for key, exchange in message.keys:
        jid = key.bare_jid
        if jid not in groups:
            groups[jid] = ET.SubElement(header, f"{place}keys", jid=jid)
        groups[jid].append(_write_key(place, key, exchange))


def _add_old_keys(header: ET.Element, message: omemo.Message) -> None:
    place = f"{{{message.namespace}}}"
    header.extend(_write_key(place, key, exchange) for key, exchange in message.keys)
    if not isinstance(message.content, old.ContentImpl):
        raise TypeError("a content of another version")
    vector = ET.SubElement(header, f"{place}iv")
    vector.text = _base64(message.content.initialization_vector)


def _write_key(
    place: str, key: EncryptedKeyMaterial, exchange: KeyExchange | None
) -> ET.Element:
    element = ET.Element(f"{place}key", rid=str(key.device_id))
    match key, exchange:
        case ((new.EncryptedKeyMaterialImpl() | old.EncryptedKeyMaterialImpl()), None):
            data = key.serialize()
        case new.EncryptedKeyMaterialImpl(), new.KeyExchangeImpl():
            data = exchange.serialize(key.serialize())
            element.set("kex", "true")
        case old.EncryptedKeyMaterialImpl(), old.KeyExchangeImpl():
            data, _ = exchange.serialize(key.serialize())
            element.set("prekey", "true")
        case _:
            raise TypeError("a key of another version")
    element.text = _base64(data)
    return element


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
