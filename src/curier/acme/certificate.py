"""Keys and certificates as ACME needs them; the one that stands in until there is a real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from curier.acme import files
from curier.acme.plan import Plan

JITTER: Final = 1 / 24
"""So much of its life, at most, a certificate is renewed later than at two thirds: not all at once."""


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new one: P-256, which handshakes cost least with."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key, not encrypted, as a PEM file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def kept_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a file; where there is none that can be read, a new one, which is put there first.

    Raises ``OSError``.
    """
    data = files.read(path)
    if data is not None:
        try:
            key = serialization.load_pem_private_key(data, None)
        except (ValueError, TypeError):
            key = None
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    made = make_key()
    files.write(path, key_pem(made))
    return made


def request_pem(key: ec.EllipticCurvePrivateKey, names: tuple[str, ...]) -> bytes:
    """A certificate signing request for these names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def present(plan: Plan) -> x509.Certificate | None:
    """The certificate that is served; None where there is none, or it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(files.read(plan.certificate) or b"")
    except ValueError:
        return None


def renewal_time(certificate: x509.Certificate | None, names: tuple[str, ...], came: float = 0.0) -> float:
    """When it is to be renewed, in seconds since 1970: after two thirds of its life and a little, which its
    serial number decides. At once, 0, where there is none, it is the placeholder, or the names are others.

    ``came`` is when we got it, by our own clock: one that is months ahead does not renew without end.
    """
    if certificate is None or certificate.issuer == certificate.subject:
        return 0.0
    if not set(names) <= names_in(certificate):
        return 0.0
    begin = certificate.not_valid_before_utc.timestamp()
    life = certificate.not_valid_after_utc.timestamp() - begin
    share = certificate.serial_number % 997 / 997
    return max(begin, came) + life * (2 / 3 + JITTER * share)


def names_in(certificate: x509.Certificate) -> set[str]:
    """What the certificate is for, in small letters."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return {name.lower() for name in found.get_values_for_type(x509.DNSName)}


def why_unfit(chain: bytes, key: ec.EllipticCurvePrivateKey, names: tuple[str, ...], now: float) -> str:
    """What is wrong with a certificate that the authority sent, as the end of a sentence; or ""."""
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        return "cannot be read"
    if leaf.public_key() != key.public_key():
        return "is for another key"
    if missing := set(names) - names_in(leaf):
        return f"is not for {', '.join(sorted(missing))}"
    end = leaf.not_valid_after_utc
    return "" if end.timestamp() > now else f"ended on {end:%Y-%m-%d}; is the clock right?"


def placeholder(plan: Plan) -> bool:
    """Put a self-signed certificate where there is none. Returns whether one stands there, still.

    Raises ``OSError``.
    """
    if files.read(plan.certificate) is None:
        key = make_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "curier, waiting for ACME")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, plan.names)]), False)
            .sign(key, hashes.SHA256())
        )
        files.write(plan.certificate, made.public_bytes(serialization.Encoding.PEM) + key_pem(key))
    found = present(plan)
    return found is not None and found.issuer == found.subject
