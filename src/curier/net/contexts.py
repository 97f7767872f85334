"""The TLS contexts of a listener: made whole from its files, or not at all.

What differs between the names that clients ask for (SNI) is the certificate alone. Whether a client needs
one, who may have signed it and what was taken back are the listener's: OpenSSL takes some of that from the
context a connection began with, whichever its name leads to, so all contexts of a listener have the same.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.net.certificate_files import (
    Stamp,
    anybody_reads,
    check_key,
    extension,
    is_own_issuer,
    key_type,
    name_of,
    read,
    read_certificates,
    read_crls,
    server_names,
    stamp,
)
from curier.net.psk_file import CIPHERS, about_keys, check_keys, read_keys
from curier.net.shared_keys import SharedKeys

_FLAGS: Final = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
"""Of verifying; said, since later versions of Python begin with others."""

_FOR_SERVERS: Final = frozenset((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, leaf first, and the file of its key."""

    certificate: str | Path
    key: str | Path
    chain: tuple[x509.Certificate, ...]
    names: tuple[str, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that clients compare with the name they know."""
        return self.chain[0]

    @property
    def expires(self) -> float:
        """When the first of the chain ends, in seconds since 1970; a root among them does not count."""
        chain = [one for one in self.chain[1:] if not is_own_issuer(one)]
        return min(one.not_valid_after_utc.timestamp() for one in (self.leaf, *chain))


@dataclass(frozen=True, slots=True)
class Built:
    """Everything that was made from a listener's files at one moment."""

    context: ssl.SSLContext
    pairs: tuple[Pair, ...]
    authorities: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    warnings: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    keys: SharedKeys | None = None


def stamps(listener: Listener) -> tuple[Stamp, ...]:
    """All files of the listener's TLS, as they are now."""
    pairs = [path for pair in listener.certificates for path in pair]
    own = (listener.certificate, listener.key, listener.key_password_file, listener.client_ca, listener.crl)
    return tuple(stamp(path) for path in (*own, listener.psk_file, *pairs) if path is not None)


def build(listener: Listener) -> Built:
    """Read all files and make the contexts. It takes milliseconds; a key's password may make it more.

    Raises ``ConfigError`` for settings that cannot be, files that cannot be read or do not fit each other,
    and files that change meanwhile.
    """
    check(listener)
    before = stamps(listener)
    warnings: list[str] = []
    if listener.psk_file is not None:
        keys, context = _keys(listener, listener.psk_file, warnings)
        _check_unchanged(listener, before)
        return Built(context, (), (), (), tuple(warnings), before, keys)
    password = _password(listener)
    pairs = [_pair(certificate, key, warnings) for certificate, key in _pairs(listener)]
    authorities = _authorities(listener, warnings)
    crls = _crls(listener, authorities, warnings)
    for pair in pairs:
        warnings += _about_chain(pair, authorities)
    context = _contexts(listener, pairs, password, authorities, crls, warnings)
    _check_unchanged(listener, before)
    return Built(context, tuple(pairs), tuple(authorities), tuple(crls), tuple(warnings), before)


def _check_unchanged(listener: Listener, before: tuple[Stamp, ...]) -> None:
    if stamps(listener) != before:
        raise ConfigError("the files change while they are read")


def check(listener: Listener) -> None:
    """Raise ``ConfigError`` for settings of TLS that contradict each other."""
    if listener.psk_file is not None:
        check_keys(listener)
    elif listener.certificate is None:
        raise ConfigError(
            "TLS needs a certificate and its key: set certificate and key; curier cert makes some to try it"
        )
    asks = asks_client(listener)
    if asks == ssl.CERT_NONE:
        for name in ("client_ca", "crl", "partial_chain", "identity"):
            if getattr(listener, name) and not (name == "client_ca" and listener.client_certificates):
                raise ConfigError(
                    f"{name} is about certificates of clients, which are not asked for: "
                    'name a client_ca, and let client_certificates be "required" or "optional"'
                )
    elif listener.client_ca is None:
        raise ConfigError(
            "client_certificates needs a client_ca: the certificates of those who may sign them"
        )
    if listener.lowest_tls not in ("1.2", "1.3"):
        raise ConfigError(f'lowest_tls is "1.2" or "1.3", not {listener.lowest_tls!r}')
    if listener.ciphers and listener.lowest_tls == "1.3":
        raise ConfigError(
            'ciphers choose for TLS 1.2, which lowest_tls = "1.3" refuses: leave one of them out'
        )
    for name in listener.alpn:
        if name in ("h2", "h2c", "h3"):
            raise ConfigError(f"alpn: {name} is HTTP/2 or 3, which is not spoken here")
        if not (name.isascii() and 0 < len(name) < 256):  # RFC 7301 section 3.1
            raise ConfigError(f"alpn: a name has 1 to 255 ASCII characters, not {name!r}")


def asks_client(listener: Listener) -> ssl.VerifyMode:
    """Whether clients are asked for a certificate, and may come without."""
    kind = listener.asks_client
    modes = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    if kind not in modes:  # from Python, where nothing has checked it
        raise ConfigError(f"client_certificates is none, optional or required, not {kind!r}")
    return modes[kind]


# ---- reading ----


def _pairs(listener: Listener) -> list[tuple[str | Path, str | Path]]:
    assert listener.certificate is not None
    key = listener.key if listener.key is not None else listener.certificate  # which may have both
    return [(listener.certificate, key), *listener.certificates]


def _password(listener: Listener) -> bytes | None:
    if listener.key_password:
        return listener.key_password.encode()
    path = listener.key_password_file
    if path is None:
        return None
    lines = read("key_password_file", path).splitlines()
    if not lines or not 0 < len(lines[0]) < 1024:  # what OpenSSL takes
        raise ConfigError(f"key_password_file {path}: expected the password as its first line")
    return lines[0]


def _pair(certificate: str | Path, key: str | Path, warnings: list[str]) -> Pair:
    chain = read_certificates("certificate", certificate, read("certificate", certificate))
    check_key("key", key, read("key", key))
    if anybody_reads(key):
        warnings.append(f"key {key}: every user of this machine may read it; chmod 600, or 640, is better")
    return Pair(certificate, key, tuple(chain), server_names(chain[0]))


def _keys(listener: Listener, path: str | Path, warnings: list[str]) -> tuple[SharedKeys, ssl.SSLContext]:
    """Those that clients know too, and a context of them, which knows no certificates."""
    found = read_keys(path)
    if anybody_reads(path):
        warnings.append(
            f"psk_file {path}: every user of this machine may read it; chmod 600, or 640, is better"
        )
    warnings += about_keys(path, found)
    context = _context(listener, (), ())
    if not any(cipher.get("auth") == "auth-psk" for cipher in context.get_ciphers()):
        raise ConfigError(
            f"ciphers {listener.ciphers!r}: none of them is for keys, as PSK-AES128-GCM-SHA256 is"
        )
    keys = SharedKeys(found)
    keys.add_to(context, listener.psk_hint)
    warnings += _about_ciphers(context, listener.ciphers)
    return keys, context


def _authorities(listener: Listener, warnings: list[str]) -> list[x509.Certificate]:
    """Who may sign the certificates of clients."""
    path = listener.client_ca
    if path is None or asks_client(listener) == ssl.CERT_NONE:
        return []
    found = read_certificates("client_ca", path, read("client_ca", path))
    if listener.partial_chain:
        return found
    rootless = [one for one in found if not _leads_to_root(one, found)]
    if len(rootless) == len(found):
        raise ConfigError(
            f"client_ca {path}: none of its certificates leads to a root (one that is signed by itself), so "
            "that no client could come in: add the root, or set partial_chain to trust an intermediate"
        )
    for one in rootless:
        warnings.append(
            f"client_ca {path}: {name_of(one.issuer)}, who signed {name_of(one.subject)}, is not in it: "
            f"clients with certificates of {name_of(one.subject)} are refused"
        )
    return found


def _leads_to_root(one: x509.Certificate, known: Sequence[x509.Certificate]) -> bool:
    for _ in known:
        if is_own_issuer(one):
            return True
        above = next((other for other in known if other.subject == one.issuer), None)
        if above is None:
            return False
        one = above
    return is_own_issuer(one)


def _crls(
    listener: Listener, authorities: Sequence[x509.Certificate], warnings: list[str]
) -> list[x509.CertificateRevocationList]:
    path = listener.crl
    if path is None:
        return []
    found = read_crls("crl", path, read("crl", path))
    listed = {one.issuer for one in found}
    for authority in authorities:
        if authority.subject not in listed and _signs(authority):
            warnings.append(
                f"crl {path}: there is no list of {name_of(authority.subject)} in it: clients whose "
                "certificates they signed are refused"
            )
    signers = {one.subject for one in authorities}
    for one in found:
        if one.issuer not in signers:
            warnings.append(f"crl {path}: {name_of(one.issuer)}, whose list is in it, is not in client_ca")
    return found


def _signs(certificate: x509.Certificate) -> bool:
    found = extension(certificate, x509.BasicConstraints)
    return found is not None and found.ca


# ---- what clients will not like ----


def _about_chain(pair: Pair, authorities: Sequence[x509.Certificate]) -> list[str]:
    where = f"certificate {pair.certificate}"
    found = []
    for number, (one, above) in enumerate(zip(pair.chain, pair.chain[1:], strict=False), 1):
        if one.issuer != above.subject:
            found.append(
                f"{where}: certificate {number + 1} in it, {name_of(above.subject)}, did not sign the one "
                f"before, {name_of(one.subject)}: expected the chain in order, leaf first"
            )
            break
    leaf = pair.leaf
    known = {one.subject for one in (*pair.chain[1:], *authorities)}
    if leaf.issuer not in known and not is_own_issuer(leaf) and not _is_signed_by_root(leaf):
        found.append(
            f"{where}: the certificate of {name_of(leaf.issuer)}, who signed it, is not in the file; if that "
            "is an intermediate, many clients cannot verify it: give the whole chain (fullchain.pem)"
        )
    if extension(leaf, x509.SubjectAlternativeName) is None:
        found.append(f"{where}: it has no subjectAltName, without which most clients refuse it")
    usage = extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and not _FOR_SERVERS.intersection(usage):
        found.append(f"{where}: it is not made for servers (extendedKeyUsage), so clients refuse it")
    return found


def _is_signed_by_root(leaf: x509.Certificate) -> bool:
    """Whether it says that its signer has signed itself (RFC 5280 section 4.2.1.1)."""
    found = extension(leaf, x509.AuthorityKeyIdentifier)
    issuers = found.authority_cert_issuer if found is not None else None
    return any(isinstance(one, x509.DirectoryName) and one.value == leaf.issuer for one in issuers or ())


# ---- contexts ----


def _contexts(
    listener: Listener,
    pairs: Sequence[Pair],
    password: bytes | None,
    authorities: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList],
    warnings: list[str],
) -> ssl.SSLContext:
    """The context of connections that begin, which leads to those of other names."""
    default, by_name = by_names(pairs, warnings)
    made: dict[tuple[int, ...], ssl.SSLContext] = {}
    for places in (default, *by_name.values()):
        if places not in made:
            context = made[places] = _context(listener, authorities, crls)
            for place in places:
                _load(context, pairs[place], password)
    first = made[default]
    warnings += _about_ciphers(first, listener.ciphers)
    names = {name: made[places] for name, places in by_name.items() if places != default}
    if names:
        first.sni_callback = Chooser(names)
    return first


def by_names(
    pairs: Sequence[Pair], warnings: list[str]
) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Which pairs serve whom, as places in ``pairs``: of the first, and of each name.

    Of one name there is one pair of each kind of key, the first that is given. The first pair serves clients
    that ask for no name, or for one that is not known; pairs of other kinds with the very same names help it.
    """
    found: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        kind = key_type(pair.leaf)[0]
        for name in pair.names:
            places = found.setdefault(name, [])
            other = next((one for one in places if key_type(pairs[one].leaf)[0] == kind), None)
            if other is None:
                places.append(place)
            else:
                warnings.append(
                    f"certificate {pair.certificate}: {name} is in {pairs[other].certificate} too, with "
                    f"a key of the same kind ({kind}); that one is used"
                )
    default = [0]
    for place, pair in enumerate(pairs):
        kinds = {key_type(pairs[one].leaf)[0] for one in default}
        if {*pair.names} == {*pairs[0].names} and key_type(pair.leaf)[0] not in kinds:
            default.append(place)
    return tuple(default), {name: tuple(places) for name, places in found.items()}


class Chooser:
    """Chooses the certificate by the name a client asks for; it changes nothing else, and raises nothing."""

    def __init__(self, contexts: Mapping[str, ssl.SSLContext]) -> None:
        self.contexts = dict(contexts)

    def __call__(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        """Take the context of the name; without one, or with one that is not known, all stays as it is."""
        try:
            found = self.find(name) if name else None
            if found is not None:
                connection.context = found
        except Exception:  # or the client were refused, without a word
            return

    def find(self, name: str) -> ssl.SSLContext | None:
        """The context of a name as a client writes it."""
        name = name.lower().removesuffix(".")
        found = self.contexts.get(name)
        return found if found is not None else self.contexts.get(f"*.{name.partition('.')[2]}")


def _context(
    listener: Listener,
    authorities: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList],
) -> ssl.SSLContext:
    """A context without a certificate, the same for all names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if listener.lowest_tls == "1.3" else ssl.TLSVersion.TLSv1_2
    )
    context.options |= ssl.OP_NO_RENEGOTIATION
    ciphers = listener.ciphers or (CIPHERS if listener.psk_file is not None else "")
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError:
            raise ConfigError(f"ciphers {ciphers!r}: OpenSSL knows none of them") from None
    web = listener.address.is_web
    context.set_alpn_protocols(["http/1.1" if web else "mqtt", *listener.alpn])
    context.verify_flags = _FLAGS
    context.verify_mode = asks_client(listener)
    if context.verify_mode == ssl.CERT_NONE:
        context.num_tickets = 1  # a client that comes again needs one; each costs a tenth of a handshake
        return context
    # A client that resumes is not verified again: none does in TLS 1.3. In 1.2 sessions have numbers as well,
    # which cannot be switched off; without tickets OpenSSL would keep each, 12 KB, and resume it all the
    # same. ``Certificates.refusal`` looks at those.
    context.num_tickets = 0
    context.load_verify_locations(cadata=b"".join(one.public_bytes(Encoding.DER) for one in authorities))
    if listener.partial_chain:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if listener.crl is not None:
        try:
            context.load_verify_locations(cafile=listener.crl)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"crl {listener.crl}: OpenSSL cannot read it ({error})") from None
        listed = {one.issuer for one in crls}
        whole = all(one.subject in listed for one in authorities if _signs(one))
        context.verify_flags |= (
            ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN if whole else ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        )
    return context


def _load(context: ssl.SSLContext, pair: Pair, password: bytes | None) -> None:
    """Put a certificate and its key into a new context. Raises ``ConfigError``."""
    where = f"certificate {pair.certificate}, key {pair.key}"
    asked = False

    def tell_password() -> bytes:  # without this, OpenSSL would ask on the terminal
        nonlocal asked
        asked = True
        return password or b""

    try:
        context.load_cert_chain(pair.certificate, pair.key, tell_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{where}: {_mismatch(pair, password)}") from None
        if asked:
            what = "does not open with key_password" if password else "is encrypted: give key_password"
            raise ConfigError(f"key {pair.key}: it {what}, or key_password_file") from None
        raise ConfigError(f"{where}: OpenSSL does not take them: {_reason(error)}") from None
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from error


def _mismatch(pair: Pair, password: bytes | None) -> str:
    """A key that is not the leaf's: perhaps another certificate of the file is the leaf."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (password, None):
        try:
            with open(pair.key, "rb") as file:
                key = load_pem_private_key(file.read(), secret).public_key().public_bytes(*form)
        except (ValueError, TypeError, OSError):  # or one that is not encrypted, with a password
            continue
        for number, one in enumerate(pair.chain[1:], 2):
            if one.public_key().public_bytes(*form) == key:
                return (
                    f"wrong order: the key is that of certificate {number} in the file; the server's own "
                    "certificate has to be the first, then who signed it, and so on"
                )
        break
    return "the key is not that of the certificate"


_REASONS: Final = {
    "EE_KEY_TOO_SMALL": "the key is too small to be safe",
    "CA_KEY_TOO_SMALL": "a key in the chain is too small to be safe",
    "CA_MD_TOO_WEAK": "a signature in the chain is too weak to be safe",
}


def _reason(error: ssl.SSLError) -> str:
    return _REASONS.get(error.reason or "", (error.reason or str(error)).replace("_", " ").lower())


def _about_ciphers(context: ssl.SSLContext, wanted: str) -> list[str]:
    """A loud line for ciphers and levels that are not safe; there are none but by one's own wish."""
    if not wanted:
        return []
    found = []
    weak = []
    for cipher in context.get_ciphers():
        name = cipher["name"]
        if (
            cipher["strength_bits"] < 128
            or cipher.get("auth") == "auth-null"
            or cipher.get("kea") == "kx-rsa"
            or any(word in name for word in ("NULL", "RC4", "DES", "MD5"))
        ):
            weak.append(name)
    if weak:
        found.append(
            f"ciphers: weak ones are among them, which others may be able to read: {', '.join(weak[:8])}"
        )
    level = re.search(r"@SECLEVEL=([01])", wanted)
    if level:
        found.append(f"ciphers: weak, @SECLEVEL={level[1]} takes keys and signatures that are no longer safe")
    return found
