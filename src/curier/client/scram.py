"""SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's part."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from curier.client.settings import Authentication
from curier.errors import ConfigError, ConnectRefused, missing_package

if TYPE_CHECKING:
    from scramp import ScramClient

MOST_ITERATIONS: Final = 1_000_000
"""More is asked by no server that means well; so many take a core a third of a second."""

MOST_BYTES: Final = 4096


class ScramSha256(Authentication):
    """Proves to the server that we know a password, without sending it, and has the server prove the same.

    ``curier.connect(url, authentication=ScramSha256("ana", "secret"))``. What the server asks is answered in
    a thread, as it takes time by design. A server that does not prove itself is not connected to
    (``ConnectRefused``). Raises ``ConfigError`` for a name or password that SASLprep (RFC 4013) forbids, and
    where the package scramp is missing (``curier[scram]``).
    """

    method = "SCRAM-SHA-256"

    def __init__(self, username: str, password: str) -> None:
        try:
            import scramp
        except ImportError as error:
            raise missing_package(error, self.method) from error
        self._make = scramp.ScramClient
        self._username = username
        self._password = password
        self._client: ScramClient | None = None
        try:
            self.begin()
        except scramp.ScramException as error:
            raise ConfigError(f"{self.method}: {error.args[0]}") from None

    def begin(self) -> bytes:
        """The first message of a new exchange."""
        self._client = self._make([self.method], self._username, self._password)
        return str(self._client.get_client_first()).encode()

    async def answer(self, data: bytes | None) -> bytes:
        """The proof that we know the password."""
        client = self._client
        if client is None or data is None or len(data) > MOST_BYTES:
            raise ConnectRefused(0x87, f"the server does not speak {self.method}")
        challenge = data.decode()
        asked = re.search(r"(?:^|,)i=([0-9]+)(?:,|$)", challenge)
        if asked is not None and (len(asked[1]) > 7 or int(asked[1]) > MOST_ITERATIONS):
            raise ConnectRefused(
                0x87, f"the server asks for {asked[1]:.20} iterations; {MOST_ITERATIONS} at most"
            )
        client.set_server_first(challenge)
        return str(await asyncio.to_thread(client.get_client_final)).encode()

    def finish(self, data: bytes | None) -> None:
        """Check the server's proof."""
        client, self._client = self._client, None
        try:
            if client is None or data is None:
                raise ValueError("it says nothing")
            client.set_server_final(data.decode())
        except Exception as error:
            why = f"the server has not proved that it knows the password: {error}"
            raise ConnectRefused(0x87, why) from None
