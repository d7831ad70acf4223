"""The server's certificate: self-signed, because the onion name is the identity."""

import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from xmpp_onion.address import OnionAddress

__all__ = ["make_certificate", "read_fingerprint"]

# Clients remember a certificate, and a renewal asks every one of them again. Its
# key is worth no more than the onion's own, which never expires.
_LIFETIME = timedelta(days=3650)


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


def read_fingerprint(certificate_pem: bytes) -> str:
    """Return the SHA-256 of a certificate's DER form, as 64 hex digits."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()
