"""The TLS options as a context of Python's ``ssl``."""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any, Literal

from curier.cli.tls_options import TlsOptions
from curier.cli.wording import in_options
from curier.client.dialing.tls import TlsSettings, make_context
from curier.errors import ConfigError


def client_context(options: TlsOptions) -> ssl.SSLContext:
    """The context that these options ask for. Raises ``ConfigError``.

    ``--cafile`` and ``--capath`` take the place of those whom the system trusts. ``--insecure`` leaves the
    comparison of names out, but the certificate has still to be signed by somebody who is trusted.
    """
    if options.psk is not None:
        return _psk_context(options)
    oldest: Literal["1.2", "1.3"] = "1.3" if options.tls_version == "tlsv1.3" else "1.2"
    by_path = options.capath is not None
    if options.capath is not None and not os.path.isdir(options.capath):
        raise ConfigError(f"--capath {options.capath}: there is no such directory")
    try:
        context = make_context(
            TlsSettings(
                ca_file=None if by_path else options.cafile,
                certificate=options.cert,
                key=options.key,
                alpn=options.tls_alpn,
                minimum_version=oldest,
                insecure=by_path,  # for now, so that nobody else is trusted beside the directory's
            )
        )
    except ConfigError as error:
        raise ConfigError(in_options(str(error))) from error
    if by_path:
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        try:
            context.load_verify_locations(options.cafile, options.capath)
        except OSError as error:
            cafile = f"--cafile {options.cafile}, " if options.cafile is not None else ""
            raise ConfigError(f"{cafile}--capath {options.capath}: {error.strerror}") from error
    if options.insecure:
        context.check_hostname = False
    if options.ciphers is not None:
        _set_ciphers(context, options.ciphers)
    return context


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise ConfigError(f"--ciphers {ciphers}: OpenSSL knows none of these") from None


def _psk_context(options: TlsOptions) -> ssl.SSLContext:
    """TLS 1.2 with a key that both sides know (RFC 4279): whoever has it is who he should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    use_keys: Any = getattr(context, "set_psk_client_callback", None)
    if use_keys is None:
        raise ConfigError(f"--psk needs Python 3.13 or newer, and this is {sys.version.split()[0]}")
    if options.tls_version == "tlsv1.3":
        raise ConfigError("--psk is of TLS 1.2 here: leave --tls-version tlsv1.3 out")
    try:
        key = bytes.fromhex(options.psk or "")
    except ValueError:
        raise ConfigError("--psk: expected pairs of the digits 0 to 9 and a to f, without 0x") from None
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # there is none
    use_keys(lambda hint: (options.psk_identity, key))
    _set_ciphers(context, options.ciphers or "PSK")
    if options.tls_alpn:
        context.set_alpn_protocols(list(options.tls_alpn))
    return context
