"""TLS for a client: what to trust, who to be, and what a failed handshake means in plain words."""

from __future__ import annotations

import os
import ssl
from dataclasses import field
from typing import Final, Literal, cast

from curier.errors import ConfigError
from curier.frozen import dataclass

_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNTRUSTED: Final = frozenset((2, 18, 19, 20, 21))  # self-signed, or signed by nobody who is known
_OTHER_NAME: Final = frozenset((62, 63, 64))


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to speak TLS. By default the server's certificate has to be valid for the host of the URL.

    ``ca_file``: certificates (PEM) of those who may sign the server's; ``None``: those the system trusts.
    ``certificate`` and ``key``: who we are, as PEM files; the key may stand in the certificate's file.
    ``key_password`` opens an encrypted key. ``alpn``: names of protocols to offer, such as ``"mqtt"``.
    ``minimum_version``: ``"1.2"`` or ``"1.3"``. ``server_name``: the name to ask for and to find in the
    certificate, where it is not the host of the URL. ``insecure``: accept any certificate of anybody, so that
    whoever is between us and the server can read and change everything; each connection logs a warning.
    ``key_log_file``: the keys of each connection are appended to it, as Wireshark reads them; so whoever has
    the file can read the connections.

    Wrong values are a ``ConfigError``, on making these settings or, for files, on connecting.
    """

    ca_file: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    key_password: str | None = field(default=None, repr=False)
    alpn: tuple[str, ...] = ()
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    server_name: str | None = None
    insecure: bool = False
    key_log_file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.minimum_version not in ("1.2", "1.3"):
            raise ConfigError(f'minimum_version is "1.2" or "1.3", not {self.minimum_version!r}')
        if self.key is not None and self.certificate is None:
            raise ConfigError("a TLS key needs its certificate: give both, certificate and key")
        if self.insecure and self.ca_file is not None:
            raise ConfigError(
                "insecure accepts any certificate, so ca_file has no use: leave one of them out"
            )
        if isinstance(cast(object, self.alpn), str):
            raise ConfigError(f"alpn is a tuple of names, such as ({self.alpn!r},)")
        for name in self.alpn:
            if not (name.isascii() and 0 < len(name) < 256):  # RFC 7301 section 3.1
                raise ConfigError(f"an ALPN name has 1 to 255 ASCII characters, not {name!r}")


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Make the context; reads files, so it may block for some milliseconds. Raises ``ConfigError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if settings.minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    )
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_file is None:
        context.load_default_certs()
    else:
        _load_authorities(context, settings.ca_file)
    if settings.certificate is not None:
        _load_certificate(context, settings)
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))
    if settings.key_log_file is not None:
        try:  # a new file is ours alone: it has what keeps everybody else out
            os.close(os.open(settings.key_log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            context.keylog_filename = os.fspath(settings.key_log_file)
        except OSError as error:
            raise ConfigError(f"key_log_file {settings.key_log_file}: {error.strerror}") from error
    return context


def _load_authorities(context: ssl.SSLContext, file: str | os.PathLike[str]) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise ConfigError(f"ca_file {file}: expected certificates in PEM ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"ca_file {file}: {error.strerror}") from error


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    certificate, key = settings.certificate, settings.key
    assert certificate is not None
    where = f"certificate {certificate}" if key is None else f"certificate {certificate}, key {key}"
    asked = False

    def password() -> str:  # without this, OpenSSL would ask on the terminal
        nonlocal asked
        asked = True
        return settings.key_password or ""

    for name, file in (("certificate", certificate), ("key", key)):
        if file is not None and not os.path.isfile(file):
            raise ConfigError(f"{name} {file}: there is no such file")
    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if asked:
            what = (
                "is encrypted: give key_password"
                if settings.key_password is None
                else "does not open with key_password"
            )
            raise ConfigError(f"{where}: the key {what}") from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{where}: the key is not that of the certificate") from None
        raise ConfigError(f"{where}: expected a certificate and its key in PEM ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from error


def explain(error: Exception, name: str, address: str) -> str:
    """Say why a handshake with ``address`` failed, and what to do; ``name`` has to be in the certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return f"the certificate of {name} is not valid: {why}; {_way_out(error.verify_code)}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return f"TLS with {address} failed: {reason}{_HINTS.get(error.reason or '', '')}"
    return (
        f"{address} closed the connection during the TLS handshake; is that a port without TLS, for mqtt:// "
        "(ws://)? Or it wants a client certificate, or another version of TLS"
    )


_NO_TLS: Final = "; it does not speak TLS there: is the port right, or should it be mqtt:// (ws://)?"
_HINTS: Final = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": "; it has no TLS version that minimum_version allows",
    "UNSUPPORTED_PROTOCOL": "; it has no TLS version that minimum_version allows",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "; it may want a client certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "; it wants a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "; it does not know who signed our certificate",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "; it takes none of the names in alpn",
    "NO_APPLICATION_PROTOCOL": "; it takes none of the names in alpn",
}


def _way_out(code: int) -> str:
    if code in _UNTRUSTED:
        return "if you know who signed it, name their certificate as ca_file"
    if code in _OTHER_NAME:
        return "connect by a name that is in the certificate, or give that as server_name"
    if code in (_EXPIRED, _NOT_YET_VALID):
        return "the server needs a new one, or the clock of this machine is wrong"
    return "the server needs another one, or its signer has to be in ca_file"
