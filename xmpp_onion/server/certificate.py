"""The server's certificate: self-signed, because the onion name is the identity."""

import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from xmpp_onion.address import OnionAddress

__all__ = ["find_fault", "make_certificate", "read_fingerprint"]

# Clients remember a certificate, and a renewal asks every one of them again. Its
# key is worth no more than the onion's own, which never expires.
_LIFETIME = timedelta(days=3650)
# A month to tell everybody that another one comes.
_WARNING = timedelta(days=30)


def make_certificate(onion: OnionAddress, *, now: datetime) -> tuple[bytes, bytes]:
    """Return a private key and a certificate for it, both as PEM.

    The names stand in the subjectAltName alone: a common name holds 64
    characters (RFC 5280, appendix A.1), fewer than ``muc.….onion`` has.

    Args:
        onion: The service; its sub-domains are covered too.
        now: The time, which is not taken from a clock here for tests' sake.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "onion")])
    names = [x509.DNSName(str(onion)), x509.DNSName(f"*.{onion}")]
    # A day of the past: the clocks of guests disagree with ours.
    begin = now.astimezone(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def find_fault(
    certificate_pem: bytes, key_pem: bytes, onion: OnionAddress, *, now: datetime
) -> str:
    """Return what is wrong with a certificate of a server, or nothing."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, None)
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.DNSName)
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        return f"it cannot be read: {error}"
    if key.public_key() != certificate.public_key():
        return "its key is another one's"
    if missing := {str(onion), f"*.{onion}"} - set(names):
        return f"it is not for {', '.join(sorted(missing))}"
    if now < certificate.not_valid_before_utc:
        return f"it holds from {certificate.not_valid_before_utc:%Y-%m-%d} on"
    if certificate.not_valid_after_utc - now < _WARNING:
        return f"it ends at {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def read_fingerprint(certificate_pem: bytes) -> str:
    """Return the SHA-256 of a certificate's DER form, as 64 hex digits."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()
