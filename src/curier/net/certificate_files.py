"""Files of certificates, keys and revocation lists: read, told apart, what is wrong with them in words."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from curier.errors import ConfigError
from curier.loglines import printable

Stamp: TypeAlias = tuple[str, int, int, int, int, int, int] | None
"""What shows that a file is another one, or has changed: path behind links, device, inode, size, times of its
content and of the rest (which nobody sets back), mode. None: it cannot be looked at, for the moment perhaps.
"""

T = TypeVar("T")

_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CRL: Final = b"-----BEGIN X509 CRL-----"
_CRL_END: Final = b"-----END X509 CRL-----"


def stamp(path: str | Path) -> Stamp:
    """The file as it is now."""
    try:
        found = os.stat(path)
        whole = os.path.realpath(path)
    except OSError:
        return None
    return (
        whole,
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_mode,
    )


def read(what: str, path: str | Path) -> bytes:
    """All of a file. Raises ``ConfigError``, which says what stands in the way and how to have it gone."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would make the broker wait
            raise ConfigError(f"{what} {path}: expected a file")
        with open(path, "rb") as file:
            return file.read()
    except PermissionError:
        raise ConfigError(f"{what} {path}: {_why_not(path)}") from None
    except FileNotFoundError:
        raise ConfigError(f"{what} {path}: there is no such file{_dead_link(path)}") from None
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from error


def _dead_link(path: str | Path) -> str:
    return f"; it is a link to {os.path.realpath(path)}" if os.path.islink(path) else ""


def _why_not(path: str | Path) -> str:
    """Why this user may not read a file: its own mode, or that of a folder on the way."""
    user = _user(os.geteuid()) if sys.platform != "win32" else "this user"
    whole = os.path.realpath(path)
    ways = dict.fromkeys(
        folder for one in (os.path.abspath(path), whole) for folder in Path(one).parents[::-1]
    )
    for folder in ways:
        if not os.access(folder, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return (
                f"user {user} may not enter the folder {folder}{_owned(folder)}; "
                f"let it: setfacl -m u:{user}:x {folder}, or chmod o+x {folder}"
            )
    link = f" ({whole})" if whole != os.path.abspath(path) else ""
    return (
        f"user {user} may not read it{link}{_owned(whole)}; let it: setfacl -m u:{user}:r {whole}, or give "
        "the file to a group of that user, with mode 0640; what renews it has to do so each time"
    )


def _owned(path: str | Path) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f", which belongs to {_user(found.st_uid)} and has mode {stat.S_IMODE(found.st_mode):04o}"


def _user(number: int) -> str:
    if sys.platform != "win32":
        import pwd

        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:  # as in a container
            pass
    return str(number)


def anybody_reads(path: str | Path) -> bool:
    """Whether every user of the machine may read the file."""
    found = stamp(path)
    return sys.platform != "win32" and found is not None and bool(found[6] & stat.S_IROTH)


def read_certificates(what: str, path: str | Path, data: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM file, at least one. Raises ``ConfigError``."""
    kinds = _kinds(data)
    if not any(kind.endswith("CERTIFICATE") for kind in kinds):
        raise ConfigError(f"{what} {path}: expected certificates in PEM; {_instead(kinds, data)}")
    return _parsed(what, path, lambda: x509.load_pem_x509_certificates(data), "certificates")


def read_crls(what: str, path: str | Path, data: bytes) -> list[x509.CertificateRevocationList]:
    """The revocation lists in a PEM file, at least one. Raises ``ConfigError``."""
    kinds = _kinds(data)
    blocks = [_CRL + block for block in data.split(_CRL)[1:]]
    is_cut = any(_CRL_END not in block for block in blocks)
    if not blocks or is_cut:
        said = "one of them has no end" if is_cut else _instead(kinds, data)
        raise ConfigError(
            f"{what} {path}: expected revocation lists in PEM; {said}; "
            "openssl crl -inform DER -in FILE makes PEM of another form"
        )
    return _parsed(what, path, lambda: [x509.load_pem_x509_crl(one) for one in blocks], "revocation lists")


def check_key(what: str, path: str | Path, data: bytes) -> None:
    """Raise ``ConfigError`` where a file has no key in PEM at all."""
    kinds = _kinds(data)
    if not any(kind.endswith("PRIVATE KEY") for kind in kinds):
        raise ConfigError(f"{what} {path}: expected a private key in PEM; {_instead(kinds, data)}")


def _parsed(what: str, path: str | Path, parse: Callable[[], list[T]], things: str) -> list[T]:
    try:
        return parse()
    except Exception as error:  # of another package, and about a file that may be half written
        why = printable(str(error))
        raise ConfigError(f"{what} {path}: the {things} in it cannot be read: {why}") from None


def _kinds(data: bytes) -> list[str]:
    return [kind.decode() for kind in _BEGIN.findall(data)]


def _instead(kinds: Sequence[str], data: bytes) -> str:
    if kinds:
        return f"it has {', '.join(dict.fromkeys(kinds))}"
    if data[:1] == b"\x30":
        return "it is DER or PKCS#12, which openssl x509, openssl pkey or openssl pkcs12 make PEM of"
    return "it is empty" if not data.strip() else "it has no line -----BEGIN ...-----"


# ---- what they say ----


def name_of(name: x509.Name) -> str:
    """The common name of somebody, or all that is said of them, for a log."""
    try:
        found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
        return printable(str(found[0].value) if found else name.rfc4514_string() or "nobody named")
    except ValueError:
        return "a name that cannot be read"


def day(moment: datetime) -> str:
    """A date, for a log."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def key_type(certificate: x509.Certificate) -> tuple[str, str]:
    """The kind of key, of which a server may have one each for a name, and the same with its size."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA", f"ECDSA {key.curve.name}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519", "Ed25519"
    return ("Ed448", "Ed448") if isinstance(key, ed448.Ed448PublicKey) else ("another", "of another kind")


def described(certificate: x509.Certificate) -> str:
    """Who signed it, serial number, key and end, for a log."""
    return (
        f"of {name_of(certificate.issuer)}, serial {certificate.serial_number:x}, "
        f"key {key_type(certificate)[1]}, until {day(certificate.not_valid_after_utc)}"
    )


def server_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """What clients may call the server: the names in subjectAltName, in small letters, or the common name."""
    found = extension(certificate, x509.SubjectAlternativeName)
    if found is not None:
        names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
        return (*names, *map(str, found.get_values_for_type(x509.IPAddress)))
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return tuple(str(one.value).lower() for one in common)


X = TypeVar("X", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[X]) -> X | None:
    """The extension of this class, if the certificate has it and it can be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def is_own_issuer(certificate: x509.Certificate) -> bool:
    """Whether it is signed with its own key: a root, or one that stands alone."""
    return certificate.subject == certificate.issuer
