"""The settings below ``[cluster]``: one node of a cluster on NATS JetStream, or several workers."""

from __future__ import annotations

import socket
from typing import Final

from curier.cluster_settings import DEFAULT_NAME, DEFAULT_PARTITIONS, DEFAULT_REPLICAS, SYNCS
from curier.settings.kinds import COUNT, FILE, TEXT, Kind, one_of
from curier.settings.setting import Setting
from curier.strict_toml import shown


def _take_servers(value: object) -> tuple[str, ...]:
    servers = [value] if isinstance(value, str) else value
    if not isinstance(servers, list) or not all(isinstance(one, str) and one for one in servers):
        raise ValueError(f'expected servers of NATS, such as "nats://10.0.0.1,10.0.0.2", got {shown(value)}')
    return tuple(servers)


def _take_urls(value: object) -> tuple[str, ...]:
    urls = [value] if isinstance(value, str) else value
    if not isinstance(urls, list) or not all(isinstance(one, str) and "://" in one for one in urls):
        raise ValueError(f'expected URLs, such as ["http://10.0.0.1:8222"], got {shown(value)}')
    return tuple(urls)


def _several(text: str) -> object:
    return text.replace(",", " ").split()


_LIST: Final[dict[str, object]] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}]
}
_SERVERS: Final = Kind("servers of NATS", _take_servers, "URLS", _LIST)
_URLS: Final = Kind("a URL, or a list of them", _take_urls, "URLS", _LIST, _several)


def _of(name: str, key: str, kind: Kind, default: str, about: str) -> tuple[str, Setting]:
    return name, Setting(name, kind, about, default, "A cluster", table="cluster", key_there=key)


CLUSTER: Final[dict[str, Setting]] = dict(
    (
        _of(
            "cluster",
            "servers",
            _SERVERS,
            "none",
            "Be one node of a cluster, on these servers of NATS: `nats://10.0.0.1,10.0.0.2,10.0.0.3`. All "
            "there is to keep lies there, and `data` is not used. It needs the packages of "
            "`curier[cluster]`; see [cluster.md](cluster.md).",
        ),
        _of(
            "node_name",
            "node_name",
            TEXT,
            "the name of this machine",
            "What this node is called; no other may have the same. Letters, digits, `-` and `_`.",
        ),
        _of(
            "workers",
            "workers",
            COUNT,
            "`1`",
            "So many processes take in clients at the same ports, for machines with several processors "
            "(Linux only). They are one broker, which keeps everything in memory (see "
            "[cluster.md](cluster.md#workers)); with `cluster`, each is a node of that by itself. They are "
            "called `NAME-1`, `NAME-2` and so on.",
        ),
        _of(
            "cluster_name",
            "name",
            TEXT,
            f'`"{DEFAULT_NAME}"`',
            "What the cluster is called: several may use the same servers.",
        ),
        _of(
            "cluster_sync",
            "sync",
            one_of(SYNCS),
            '`"always"`',
            "`always`: start only where every server of NATS writes at once (`sync_interval: always`). "
            "`relaxed`: a loss of power there may take back what was acknowledged.",
        ),
        _of(
            "cluster_monitors",
            "monitors",
            _URLS,
            "port 8222 of each server",
            "Where the servers of NATS tell how they are set, by HTTP.",
        ),
        _of(
            "cluster_credentials",
            "credentials",
            FILE,
            "none",
            "A file of NATS with who this node is: what `nsc generate creds` writes, or the seed of a user.",
        ),
        _of(
            "cluster_cafile",
            "cafile",
            FILE,
            "those of the system",
            "A PEM file: who signed the certificates of the servers. With it nothing is said without TLS.",
        ),
        _of(
            "cluster_certificate",
            "certificate",
            FILE,
            "none",
            "A PEM file: the certificate of this node, where the servers ask for one.",
        ),
        _of("cluster_key", "key", FILE, "in the certificate's file", "A PEM file: its key."),
        _of(
            "cluster_replicas",
            "replicas",
            COUNT,
            f"`{DEFAULT_REPLICAS}`",
            "How many servers keep each message; 1 is for tests alone.",
        ),
        _of(
            "cluster_partitions",
            "partitions",
            COUNT,
            f"`{DEFAULT_PARTITIONS}`",
            "In how many logs messages stand, by topic. It is the same on all nodes, and stays as it was "
            "when the cluster began.",
        ),
    )
)
"""By the names of options and variables; what they are called below ``[cluster]`` is ``key_there``."""


def own_name() -> str:
    """What this machine is called, as far as a node may be called that; ""."""
    name = socket.gethostname().partition(".")[0]
    return "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "-" for one in name)[:32]
