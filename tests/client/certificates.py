"""Certificates made for a test: an authority, a server, a client, and what can be wrong with them."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files below a directory."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def server(self, name: str = "good", client: bool = False) -> ssl.SSLContext:
        """A server's context; with ``client`` it demands the certificate of a client."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.pem")
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def make_certificates(directory: Path) -> Certificates:
    """``good`` is valid for localhost, 127.0.0.1 and broker.test; the others are named for their fault."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    names = ("localhost", "127.0.0.1", "broker.test")
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = {
        "good": authority.issue_cert(*names),
        "expired": authority.issue_cert(*names, not_before=now - 9 * day, not_after=now - day),
        "early": authority.issue_cert(*names, not_before=now + day, not_after=now + 9 * day),
        "other": authority.issue_cert("other.example"),
        "stranger": trustme.CA().issue_cert(*names),
        "client": authority.issue_cert("client@example.org"),
    }
    for name, leaf in made.items():
        leaf.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    client = made["client"]
    client.private_key_pem.write_to_path(directory / "client.key")
    client.cert_chain_pems[0].write_to_path(directory / "client.crt")
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    (directory / "encrypted.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    return Certificates(directory)
