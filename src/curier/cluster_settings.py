"""What a broker is told of the cluster it is one node of: plain data, which needs no package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from curier.errors import ConfigError

Sync = Literal["always", "relaxed"]
SYNCS: Final = ("always", "relaxed")

DEFAULT_NAME: Final = "curier"
DEFAULT_PARTITIONS: Final = 8
DEFAULT_REPLICAS: Final = 3
SCHEMES: Final = ("nats", "tls", "ws", "wss")

_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class ClusterSettings:
    """One node of a cluster on NATS JetStream.

    ``servers`` are URLs of NATS, with or without the scheme; ``node`` is the name of this one, which no other
    has. All nodes have the same ``name`` of the cluster, and ``partitions``, which never change. ``sync`` is
    ``"always"``, or ``"relaxed"`` where a loss of power at NATS may take back what was acknowledged.
    ``monitors`` are where the servers tell how they are set, by HTTP; none: port 8222 of each of ``servers``.
    ``credentials`` is a file of NATS: a JWT with its seed, or the seed of a user. ``cafile`` has who signed
    the certificates of the servers, where that is nobody whom the system knows; ``certificate`` and ``key``
    are this node's own, where servers ask for one. With any of these nothing is said without TLS.
    """

    servers: tuple[str, ...]
    node: str
    name: str = DEFAULT_NAME
    sync: Sync = "always"
    replicas: int = DEFAULT_REPLICAS
    partitions: int = DEFAULT_PARTITIONS
    monitors: tuple[str, ...] = ()
    credentials: str = ""
    cafile: str = ""
    certificate: str = ""
    key: str = ""

    def check(self) -> None:
        """Raise ``ConfigError`` for what cannot be."""
        if not self.servers:
            raise ConfigError("cluster: name the servers of NATS, such as nats://10.0.0.1,10.0.0.2,10.0.0.3")
        for server in self.urls:
            check_server(server)
        for what, word in (("node_name", self.node), ("the cluster's name", self.name)):
            if not _WORD.fullmatch(word):
                raise ConfigError(f"{what} has letters, digits, - and _, at most 32 of them: not {word!r}")
        if self.replicas not in (1, 3, 5):
            raise ConfigError(f"replicas: NATS keeps 1, 3 or 5 of each, not {self.replicas}")
        if self.replicas == 1 and self.sync == "always":
            raise ConfigError(
                "replicas: with 1 a server that is lost takes along what was acknowledged; if that is meant, "
                'say so: sync = "relaxed"'
            )
        if self.key and not self.certificate:
            raise ConfigError("cluster: a key is of no use without its certificate (--cluster-certificate)")
        if not 1 <= self.partitions <= 64:
            raise ConfigError(f"partitions: from 1 to 64, not {self.partitions}")

    @property
    def files(self) -> dict[str, str]:
        """Of who this node is to the servers, and they to it: as ``curier.jetstream.access`` takes them."""
        names = ("credentials", "cafile", "certificate", "key")
        return {name: getattr(self, name) for name in names}

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers, each as a whole URL: ``nats://user:password@a,b`` names two, with the same user."""
        found: list[str] = []
        scheme, user = "nats", ""
        for text in self.servers:
            for server in text.split(","):
                one = server.strip()
                if "://" in one:
                    scheme, _, rest = one.partition("://")
                    user = "".join(rest.rpartition("@")[:2])
                elif one:
                    one = f"{scheme}://{one if '@' in one else user + one}"
                if one:
                    found.append(one)
        return tuple(found)


@dataclass(frozen=True)
class WorkerSettings:
    """One of ``count`` processes of one machine that are one broker, all in memory.

    ``node`` is its name. ``engine`` is the descriptor of a socket, at whose other end the engine is; only one
    broker of this process can use it, and only once.
    """

    node: str
    count: int
    engine: int

    def check(self) -> None:
        """Raise ``ConfigError`` for what cannot be."""
        if not _WORD.fullmatch(self.node):
            raise ConfigError(
                f"node_name has letters, digits, - and _, at most 32 of them: not {self.node!r}"
            )


def check_server(server: str) -> None:
    """Raise ``ConfigError`` where this is no URL of a server."""
    try:
        parts = urlsplit(server)
        is_url = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(
            f"cluster: expected servers such as nats://10.0.0.1:4222, got {_shown(server)}; what is "
            "special in a password (, / ? # @ : %) is written as %2C and so on"
        )


def _shown(server: str) -> str:
    """Without what may be a password, or a piece of one."""
    scheme, separator, rest = server.rpartition("://")
    if "@" in rest:
        return repr(f"{scheme}{separator}...@{rest.rpartition('@')[2]}")
    host, _, port = rest.partition(":")
    return repr(f"{scheme}{separator}{rest if port.isdigit() else host}")
