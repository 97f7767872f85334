"""Authorities, certificates and revocation lists for tests, as files; and handshakes in memory."""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

RSA = trustme.KeyType.RSA
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


def put(path: Path, data: bytes) -> Path:
    """A new file in the place of the old one, as programs that renew certificates do it."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.chmod(0o600)
    new.replace(path)
    return path


def write_pair(
    directory: Path, made: trustme.LeafCert, name: str = "server", root: trustme.CA | None = None
) -> tuple[Path, Path]:
    """Chain, up to the root if it is given, and key of a certificate, as two files."""
    pems = [*made.cert_chain_pems, *([root.cert_pem] if root else [])]
    return (
        put(directory / f"{name}.pem", chain_of(pems)),
        put(directory / f"{name}.key", made.private_key_pem.bytes()),
    )


def loaded(made: trustme.LeafCert | trustme.CA) -> x509.Certificate:
    blob = made.cert_pem if isinstance(made, trustme.CA) else made.cert_chain_pems[0]
    return x509.load_pem_x509_certificate(blob.bytes())


def serial(made: trustme.LeafCert) -> int:
    return loaded(made).serial_number


def revocations(
    authority: trustme.CA,
    *revoked: trustme.LeafCert | trustme.CA,
    begin: datetime.datetime = NOW - DAY,
    end: datetime.datetime = NOW + 30 * DAY,
) -> bytes:
    """The revocation list of an authority, in PEM."""
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateRevocationListBuilder(loaded(authority).subject, begin, end)
    for one in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder(loaded(one).serial_number, begin).build()
        )
    return builder.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM)


def client_context(
    authority: trustme.CA | None = None,
    certificate: trustme.LeafCert | None = None,
    *,
    version: ssl.TLSVersion | None = None,
    leaf_only: bool = False,
) -> ssl.SSLContext:
    """A client's; it trusts this authority, or anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    if certificate is not None:
        pems = certificate.cert_chain_pems[:1] if leaf_only else certificate.cert_chain_pems
        blob = trustme.Blob(b"".join(one.bytes() for one in pems) + certificate.private_key_pem.bytes())
        with blob.tempfile() as path:
            context.load_cert_chain(path)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Ends:
    """Both ends of a connection in memory."""

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(up, down, server_side=True)
        self.client = client.wrap_bio(down, up, server_hostname=name, session=session)

    def shake(self) -> Ends:
        """Make the handshake. Raises what the server raises, else what the client does."""
        done: set[ssl.SSLObject] = set()
        said: ssl.SSLError | None = None
        for _ in range(9):
            for end in (self.client, self.server):
                if end not in done:
                    try:
                        end.do_handshake()
                        done.add(end)
                    except ssl.SSLWantReadError:
                        pass
                    except ssl.SSLError as error:
                        if end is self.server:
                            raise
                        said = said or error
        if said is not None:
            raise said
        assert len(done) == 2
        self.server.write(b"hello")  # behind it, tickets have come as well
        assert self.client.read(9) == b"hello"
        return self

    @property
    def serial(self) -> int:
        """That of the certificate which the client was shown."""
        shown = self.client.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


@contextmanager
def somebody() -> Iterator[None]:
    """Be a user to whom modes of files apply: root becomes nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def chain_of(pems: Iterable[trustme.Blob]) -> bytes:
    return b"".join(one.bytes() for one in pems)
