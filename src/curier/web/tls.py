"""TLS of the window: the same as at a listener's, with files that are read again when they change."""

from __future__ import annotations

import ssl

from curier.errors import ConfigError, missing_package
from curier.listeners import Listener
from curier.net.renewal import Renewal


class WebTls:
    """``context`` is for the server: each handshake gets that of the files as they are then.

    Raises ``ConfigError`` for files that do not fit.
    """

    def __init__(self, url: str, certificate: str | None, key: str | None) -> None:
        if certificate is None or key is None:
            raise ConfigError("https needs a certificate and its key")
        try:
            from curier.net.certificates import Certificates
        except ImportError as error:
            raise missing_package(error, url) from error
        address = url.replace("https://", "tls://", 1)
        self._certificates = Certificates(Listener(address, "window", certificate, key))
        self._renewal = Renewal([self._certificates], {}, _nothing)
        self.context = self._certificates.context()
        self.context.sni_callback = self._choose

    def _choose(self, there: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Before each handshake, whether a name is asked for or not."""
        there.context = self._certificates.context()

    def start(self) -> None:
        """Look at the files every few seconds."""
        self._renewal.start()

    def stop(self) -> None:
        """Look no more."""
        self._renewal.stop()


async def _nothing() -> None:
    """No client shows a certificate here."""
