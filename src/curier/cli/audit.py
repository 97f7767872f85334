"""What of a broker's settings is open, and how to close it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from curier import Options
from curier.auth.reading import read_users
from curier.config import Config
from curier.errors import ConfigError
from curier.listeners import Listener, Network

_OFF: Final = {
    "max_connecting": (0, "one address may open as many connections as there can be"),
    "packet_timeout": (0.0, "a packet may take for ever, and holds memory as long"),
    "client_share": (1, "one client may have all retained messages there can be"),
    "source_share": (1, "one user or address may have all sessions and retained messages there can be"),
}
"""Limits of fairness, with the value that turns each off, and what follows."""

_FAST_HASHES: Final = ("$6$", "$7$")


class Finding(NamedTuple):
    """What is open, and how to close it."""

    what: str
    close: str


def findings(config: Config, files: Sequence[Path] = ()) -> Iterator[Finding]:
    """All of it. ``files`` are those of the configuration itself."""
    for door in config.doors():
        yield from _of_door(config, door)
    yield from _of_users(config)
    yield from _of_limits(config.options)
    yield from _of_files(config, files)


def _of_door(config: Config, door: Listener) -> Iterator[Finding]:
    address = door.address
    if config.anonymous_may_connect(door):
        if address.is_loopback:
            yield Finding(
                f"{door.url}: every program of this machine may connect without a name",
                "allow_anonymous = false, and a password_file",
            )
        else:
            yield Finding(
                f"{door.url}: everybody who can reach it may connect without a name",
                "a password_file, or certificates (client_ca and identity), and no allow_anonymous = true",
            )
    if not address.is_loopback and not address.is_secure and not door.proxy_protocol:
        yield Finding(
            f"{door.url}: passwords and messages can be read and changed on their way",
            f"{'wss' if address.is_web else 'tls'}:// with a certificate, or a proxy that speaks it in front",
        )
    if address.is_web and not door.origins:
        yield Finding(
            f"{door.url}: any web page can have the browsers of its visitors connect", "origins = [...]"
        )
    if door.client_ca is not None and door.crl is None:
        yield Finding(f"{door.url}: a stolen certificate of a client is good until it ends", "crl = FILE")
    for name, networks in (
        ("proxy_protocol", door.proxy_protocol),
        ("trusted_proxies", door.trusted_proxies),
    ):
        if any(map(_is_everything, networks)):
            yield Finding(
                f"{door.url}: {name} believes everybody who claims to be a proxy",
                f"{name}: your proxies alone",
            )
    if address.is_file and door.mode & 0o006:
        yield Finding(f"{door.url}: mode {door.mode:04o} lets every user of this machine in", 'mode = "0660"')


def _is_everything(network: Network) -> bool:
    return network.prefixlen == 0


def _of_users(config: Config) -> Iterator[Finding]:
    if config.acl_file is None and not config.hooks:
        yield Finding(
            "every client may publish and subscribe to everything", "an acl_file with what each may do"
        )
    for path in (one.values["file"] for one in config.asked if one.kind == "password-file"):
        try:
            users = read_users(Path(path)).hashes
        except ConfigError as error:
            yield Finding(f"{path} cannot be read: {error}", f"curier passwd {path} USER")
            continue
        fast = [user for user, encoded in users.items() if encoded.startswith(_FAST_HASHES)]
        if fast:
            yield Finding(
                f"{path}: {len(fast)} password(s) would be quick to guess from a stolen file",
                f"a new password for each: curier passwd {path} USER",
            )
    for one in config.asked:
        for name, value in one.values.items():
            if isinstance(value, str) and _is_plain(value):
                yield Finding(
                    f"[[authenticator]] {one.kind}: {name} goes over the network in the clear",
                    "a URL that begins with https:// or ldaps://",
                )


def _is_plain(url: str) -> bool:
    """Whether what is told there can be read by others on its way."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "ldap") or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _of_limits(options: Options) -> Iterator[Finding]:
    for name, (off, what) in _OFF.items():
        if getattr(options, name) == off:
            yield Finding(f"{name}: {what}", f"leave {name} at its default, {getattr(Options(), name):g}")


def _of_files(config: Config, files: Sequence[Path]) -> Iterator[Finding]:
    """Files that others can read, of those that have secrets; that others can change, of all."""
    secret = [
        config.key,
        config.log_file,
        config.audit_log,
        *(one for door in config.doors() for one in (door.key, door.psk_file)),
    ]
    secret += [door.key_password_file for door in config.doors()]
    secret += [key for door in config.doors() for _, key in door.certificates]
    trusted = [config.acl_file, *config.hooks, *files]
    for one in config.asked:
        for name, value in one.values.items():
            if isinstance(value, str) and ("file" in name or name == "key"):
                (trusted if name in ("ca_file", "key_file") else secret).append(value)
    if (directory := config.directory) is not None:
        secret.append(directory)
    for path in dict.fromkeys(str(one) for one in (*secret, *trusted) if one is not None):
        yield from _of_file(path, is_secret=path in map(str, secret))


def _of_file(path: str, is_secret: bool) -> Iterator[Finding]:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # config check tells of what has to be there
    right = "700" if stat.S_ISDIR(mode) else "600"
    if mode & 0o022:
        yield Finding(f"{path}: other users of this machine can change it", f"chmod go-w {path}")
    elif is_secret and mode & 0o004:
        yield Finding(f"{path}: every user of this machine can read it", f"chmod {right} {path}")
