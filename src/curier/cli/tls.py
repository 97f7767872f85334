"""The TLS options as a context of Python's ``ssl``."""

from __future__ import annotations

import ssl
from typing import Literal

from curier.cli.tls_options import TlsOptions
from curier.client.dialing.tls import TlsSettings, make_context
from curier.errors import ConfigError


def client_context(options: TlsOptions) -> ssl.SSLContext:
    """The context that these options ask for. Raises ``ConfigError``.

    ``--cafile`` and ``--capath`` take the place of those whom the system trusts. ``--insecure`` leaves the
    comparison of names out, but the certificate has still to be signed by somebody who is trusted.
    """
    oldest: Literal["1.2", "1.3"] = "1.3" if options.tls_version == "tlsv1.3" else "1.2"
    by_path = options.capath is not None
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
    if by_path:
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        try:
            context.load_verify_locations(options.cafile, options.capath)
        except OSError as error:
            raise ConfigError(f"cafile {options.cafile}, capath {options.capath}: {error}") from error
    if options.insecure:
        context.check_hostname = False
    if options.ciphers is not None:
        try:
            context.set_ciphers(options.ciphers)
        except ssl.SSLError:
            raise ConfigError(f"--ciphers {options.ciphers}: OpenSSL knows none of these") from None
    return context
