"""The TLS options of mosquitto_pub and its kin; ``curier.cli.tls`` makes a context of them."""

from __future__ import annotations

from typing import Final

import click

from curier.cli.options import not_offered, option

TLS_VERSIONS: Final = ("tlsv1.2", "tlsv1.3")

_TLS: Final = "TLS"

_NO_ENGINES: Final = "Python's TLS has no engines"


def _key_form(text: str) -> str:
    if text != "pem":
        raise click.BadParameter(f"keys are PEM files: {_NO_ENGINES}")
    return text


TLS_OPTIONS: Final = (
    option("--cafile", metavar="FILE", section=_TLS, help="Certificates of those who may sign the server's."),
    option(
        "--capath", metavar="DIR", section=_TLS, help="A directory of them, prepared by `openssl rehash`."
    ),
    option("--cert", metavar="FILE", section=_TLS, help="This client's certificate."),
    option("--key", metavar="FILE", section=_TLS, help="The key of --cert, if it is not in the same file."),
    option(
        "--keyform",
        metavar="pem",
        type=_key_form,
        section=_TLS,
        help="The form of --key: pem is all there is.",
    ),
    option(
        "--psk", metavar="HEX", section=_TLS, help="No certificates: a key both sides know (Python 3.13)."
    ),
    option("--psk-identity", metavar="TEXT", section=_TLS, help="The name of that key."),
    not_offered("--tls-engine", _NO_ENGINES),
    not_offered("--tls-engine-kpass-sha1", _NO_ENGINES),
    option("--ciphers", metavar="LIST", section=_TLS, help="Ciphers as OpenSSL lists them, up to TLS 1.2."),
    option("--tls-version", type=click.Choice(TLS_VERSIONS), section=_TLS, help="The oldest that will do."),
    option("--tls-alpn", metavar="NAME", multiple=True, section=_TLS, help="Protocol to offer (ALPN)."),
    option("--tls-use-os-certs", is_flag=True, section=_TLS, help="Use TLS, trust whom the system trusts."),
    option(
        "--insecure",
        is_flag=True,
        section=_TLS,
        help="Do not compare the name in the certificate with the host's. It has still to be signed by "
        "somebody who is trusted; anybody who has such a one can listen.",
    ),
)


class TlsOptions:
    """What these options say. Any of them asks for TLS."""

    cafile: str | None = None
    capath: str | None = None
    cert: str | None = None
    key: str | None = None
    keyform: str | None = None
    psk: str | None = None
    psk_identity: str | None = None
    ciphers: str | None = None
    tls_version: str | None = None
    tls_alpn: tuple[str, ...] = ()
    tls_use_os_certs: bool = False
    insecure: bool = False

    @property
    def ask_for_tls(self) -> bool:
        """Is there any of them?"""
        asked = (self.cafile, self.capath, self.cert, self.key, self.psk, self.ciphers, self.tls_version)
        return any((*asked, self.tls_alpn, self.tls_use_os_certs, self.insecure))

    def check_tls(self) -> None:
        """Raise ``click.UsageError`` for what does not go together."""
        if (self.psk is None) != (self.psk_identity is None):
            raise click.UsageError("--psk and --psk-identity go together: a key, and its name")
        if self.keyform is not None and self.key is None:
            raise click.UsageError("--keyform is of --key")
        if self.psk is None:
            return
        others = (self.cafile, self.capath, self.cert, self.key, self.tls_use_os_certs, self.insecure)
        if any(others):
            raise click.UsageError("--psk is in place of certificates: leave the options for those out")
