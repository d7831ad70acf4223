"""The self-signed certificate."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from xmpp_onion.address import OnionAddress
from xmpp_onion.server.certificate import make_certificate, read_fingerprint

ONION = OnionAddress.from_public_key(bytes(32))
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_the_certificate_names_the_onion_and_its_sub_domains() -> None:
    _, pem = make_certificate(ONION, now=NOW)

    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)
    assert names == [str(ONION), f"*.{ONION}"]
    assert certificate.subject.rfc4514_string() == "CN=onion"


def test_the_certificate_holds_for_clocks_that_are_behind() -> None:
    _, pem = make_certificate(ONION, now=NOW)

    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_before_utc == NOW - timedelta(days=1)
    assert certificate.not_valid_after_utc > NOW + timedelta(days=3600)


def test_the_key_belongs_to_the_certificate() -> None:
    key, pem = make_certificate(ONION, now=NOW)

    certificate = x509.load_pem_x509_certificate(pem)
    assert load_pem_private_key(key, None).public_key() == certificate.public_key()


def test_the_fingerprint_is_what_a_client_sees() -> None:
    _, pem = make_certificate(ONION, now=NOW)

    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert read_fingerprint(pem) == hashlib.sha256(der).hexdigest()
