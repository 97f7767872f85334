"""``curier cert``: an authority of one's own, certificates for a server and for clients, to try TLS with."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from curier.errors import ConfigError

THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")
AUTHORITY_DAYS: Final = 3650
EARLIER: Final = timedelta(hours=1)
"""A certificate begins so long before it is made: clocks of small devices differ."""

Key: TypeAlias = ec.EllipticCurvePrivateKey
Made: TypeAlias = tuple[x509.Certificate, Key]

_HOST: Final = re.compile(r"(?!-)(\*\.)?([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}", re.IGNORECASE)
_CLIENT: Final = re.compile(r"[\w@+-][\w@+.-]{0,63}")  # a common name has 64 characters at most (RFC 5280)


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name or an address of the server; may be given again.  [default: this machine's own]",
)
@click.option(
    "--client", "clients", metavar="NAME", multiple=True, help="A client to make one for; may be given again."
)
@click.option(
    "--days",
    type=click.IntRange(1, AUTHORITY_DAYS),
    default=365,
    help="How long the certificates are valid.  [default: 365]",
)
def cert(directory: Path, hosts: tuple[str, ...], clients: tuple[str, ...], days: int) -> None:
    """Make certificates in DIR, to try TLS with: an authority, a server's, clients'.

    The authority (ca.pem, ca.key) is made once; further certificates in DIR are signed by it. The server's
    (server.pem, server.key) is valid for each --host, by default for localhost, 127.0.0.1 and ::1. A
    client's (NAME.pem, NAME.key) has its NAME as common name; with --client alone no server's is made.

    Keys are readable by their owner only. No file is overwritten: to have a new one, remove the old. Whoever
    has ca.key can be anybody to those who trust ca.pem: servers and clients need ca.pem alone.

    \b
    Examples:
      curier cert lab
      curier cert lab --host broker.example --host 192.0.2.7 --client dev1 --client dev2
      curier cert lab --client dev3
    """
    names = hosts or (() if clients else THIS_MACHINE)
    wanted = [*clients, *(["server"] if names else [])]
    for client in clients:
        _check_client(client, clients)
    server_names = [_name(host) for host in names]
    _check_free(directory, wanted)
    authority, new = _authority(directory)
    if new:
        _write(directory, "ca", authority)
    if names:
        _write(directory, "server", _signed(authority, names[0], days, server_names))
    for client in clients:
        _write(directory, client, _signed(authority, client, days))
    click.echo(_told(directory, new, names, clients), nl=False)


# ---- what was asked for ----


def _check_client(client: str, clients: tuple[str, ...]) -> None:
    if not _CLIENT.fullmatch(client):
        raise click.UsageError(
            f"--client {client!r}: it becomes the name of a file: expected 1 to 64 letters, digits, . _ - + @"
        )
    if client in ("ca", "server"):
        raise click.UsageError(f"--client {client}: {client}.pem is another file here; choose another name")
    if clients.count(client) > 1:
        raise click.UsageError(f"--client {client} is given twice")


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        ascii_name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        ascii_name = ""
    if not _HOST.fullmatch(ascii_name) or len(ascii_name) > 253:
        raise click.UsageError(
            f"--host {host!r}: expected a name or an address alone, such as broker.example or 192.0.2.7"
        )
    return x509.DNSName(ascii_name)


def _check_free(directory: Path, wanted: list[str]) -> None:
    """Raise ``ConfigError`` where a file is there already, before any is made."""
    for name in wanted:
        for path in (directory / f"{name}.pem", directory / f"{name}.key"):
            if path.exists() or path.is_symlink():
                raise ConfigError(
                    f"{path} is there already, and is not overwritten: remove it to have a new one"
                )


# ---- making ----


def _authority(directory: Path) -> tuple[Made, bool]:
    """The authority of a directory, and whether it is new. Raises ``ConfigError``."""
    certificate, key = directory / "ca.pem", directory / "ca.key"
    if not certificate.exists() and not key.exists():
        return _new_authority(), True
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        secret = load_pem_private_key(key.read_bytes(), None)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{error.filename}: there is no such file; an authority has ca.pem and ca.key"
        ) from None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigError(
            f"{directory}: ca.pem and ca.key cannot be read; expected those that curier cert has made"
        ) from None
    if not isinstance(secret, ec.EllipticCurvePrivateKey) or secret.public_key() != found.public_key():
        raise ConfigError(
            f"{directory}: ca.key is not the key of ca.pem, or not one that curier cert has made"
        )
    if datetime.now(UTC) >= found.not_valid_after_utc:
        raise ConfigError(f"{certificate} is valid no longer: begin anew in another directory")
    return (found, secret), False


def _new_authority() -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _common_name(f"curier laboratory {secrets.token_hex(4)}")
    builder = (
        _builder(name, name, key, datetime.now(UTC) + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    return builder.sign(key, SHA256()), key


def _signed(authority: Made, name: str, days: int, hosts: list[x509.GeneralName] | None = None) -> Made:
    """A certificate for a server, if there are ``hosts``, else for a client; and its key."""
    above, secret = authority
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(datetime.now(UTC) + timedelta(days=days), above.not_valid_after_utc)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if hosts is None else ExtendedKeyUsageOID.SERVER_AUTH
    identifier = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    issuer = [x509.DirectoryName(above.issuer)]
    builder = (
        _builder(_common_name(name[:64]), above.subject, key, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        # With its issuer's issuer, it says that a root has signed it: nothing lies between.
        .add_extension(x509.AuthorityKeyIdentifier(identifier, issuer, above.serial_number), critical=False)
    )
    if hosts is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return builder.sign(secret, SHA256()), key


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, end: datetime) -> x509.CertificateBuilder:
    public = key.public_key()
    begin = datetime.now(UTC) - EARLIER
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), begin, end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(signs: bool) -> x509.KeyUsage:
    """What the key may do: sign certificates, or handshakes."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


# ---- files ----


def _write(directory: Path, name: str, made: Made) -> None:
    """Write a certificate and its key as new files. Raises ``ConfigError``."""
    certificate, key = made
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, data, mode in (
            (directory / f"{name}.key", secret, 0o600),
            (directory / f"{name}.pem", certificate.public_bytes(Encoding.PEM), 0o644),
        ):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: cannot be written: {error.strerror}") from error


def _told(directory: Path, new: bool, hosts: tuple[str, ...], clients: tuple[str, ...]) -> str:
    """What was made, and what to do next."""

    def file(name: str) -> str:
        return shlex.quote(str(directory / name))

    lines = [f"{file('ca.pem')}, ca.key: an authority, which clients are to trust"] if new else []
    if hosts:
        lines.append(f"{file('server.pem')}, server.key: the server {', '.join(hosts)}")
    lines += [f"{file(f'{client}.pem')}, {client}.key: the client {client}" for client in clients]
    if hosts or (directory / "server.pem").exists():
        lines += ["next:", *(f"  {line}" for line in _next(file, hosts, clients))]
    return "".join(f"{line}\n" for line in lines)


def _next(file: Callable[[str], str], hosts: tuple[str, ...], clients: tuple[str, ...]) -> Iterator[str]:
    """Commands that use what was made."""
    is_here = set(hosts) <= set(THIS_MACHINE)
    host = next((one for one in hosts if "*" not in one), "HOST" if hosts else THIS_MACHINE[0])
    broker = f"curier broker --listen tls://{'127.0.0.1' if is_here else '0.0.0.0'}:8883"
    broker += f" --certificate {file('server.pem')} --key {file('server.key')}"
    sub = f"curier sub -h {shlex.quote(host)} -p 8883 --cafile {file('ca.pem')}"
    if clients:  # nobody comes in without a certificate
        broker += f" --client-ca {file('ca.pem')}{'' if is_here else ' --allow-anonymous'}"
        sub += f" --cert {file(f'{clients[0]}.pem')} --key {file(f'{clients[0]}.key')}"
    elif not is_here:
        yield "curier passwd users ana"
        broker += " --password-file users"
        sub += " -u ana -P PASSWORD"
    yield broker
    yield f"{sub} -t '#' -v"
