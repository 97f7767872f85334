"""Whether a cluster could begin on these servers of NATS: they are looked at, and nothing is changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from curier.jetstream.access import Access
from curier.jetstream.line import Line, without_password
from curier.jetstream.names import Names
from curier.jetstream.proof import told_by
from curier.jetstream.streams import LEAST_VERSION, is_too_old, look_at

REACH_SECONDS: Final = 5.0
LEAST_MESSAGE: Final = 1 << 20
"""Bytes that a message may have at NATS unless it is told otherwise."""

FULL: Final = 0.85
"""Of the storage that a server may use."""

JETSTREAM_OFF: Final = (
    "give its configuration a jetstream block; where it has one, its disk was full: make room, and start it "
    "again, for by itself it does not go on"
)

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """``advice`` says what is to be done, "" with ``ok``. An ``error`` keeps nodes from starting, or from
    keeping what they acknowledge.
    """

    level: Level
    what: str
    advice: str = ""


class Wanted(NamedTuple):
    """What nodes will ask of the servers. ``free`` are bytes that are to be free at each."""

    access: Access
    names: Names
    replicas: int
    is_relaxed: bool
    monitors: Sequence[str]
    free: int


async def check(wanted: Wanted) -> list[Finding]:
    """All that was found, server by server, and the streams last."""
    urls = wanted.access.servers
    came = [asyncio.Event() for _ in urls]
    lines = [
        Line(replace(wanted.access, servers=(url,)), "curier cluster check", one.set)
        for url, one in zip(urls, came, strict=True)
    ]
    for line in lines:
        line.open()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REACH_SECONDS):
                await asyncio.gather(*[one.wait() for one in came])
        found = [*_servers(lines, urls, wanted.replicas)]
        told = await asyncio.gather(
            *[asyncio.to_thread(told_by, one, wanted.access.tls) for one in wanted.monitors]
        )
        found += _monitors(wanted, told, {line.server for line in lines if line.is_up})
        up = next((line for line in lines if line.is_up), None)
        if up is not None:
            found += await _streams(up, wanted)
    finally:
        await asyncio.gather(*[line.close() for line in lines])
    return found


def _servers(lines: Sequence[Line], urls: Sequence[str], replicas: int) -> Iterator[Finding]:
    names: set[str] = set()
    for line, url in zip(lines, urls, strict=True):
        where = without_password(url)
        if not line.is_up:
            yield Finding("error", line.why, f"start it, or see that {where} can be reached from here")
        elif is_too_old(line.version):
            least = ".".join(map(str, LEAST_VERSION))
            yield Finding(
                "error", f"{line.server} at {where} is NATS {line.version}", f"{least} or newer is needed"
            )
        elif line.server in names:
            yield Finding("warning", f"{where} leads to {line.server} once more", "name each server once")
        else:
            yield Finding("ok", f"{line.server} at {where}: NATS {line.version}")
            if line.most < LEAST_MESSAGE:
                yield Finding(
                    "warning",
                    f"{line.server} takes {line.most} bytes at once",
                    "max_payload: 8MB is better: larger messages are refused",
                )
        names.add(line.server)
    if len(urls) < replicas:
        yield Finding(
            "warning",
            f"{len(urls)} of the servers are named, and {replicas} keep each message",
            "name all of them, so that a node finds another when its own fails",
        )
    hosts = {urlsplit(url).hostname for url in urls}
    if len(hosts) == 1 and len(urls) > 1:
        yield Finding(
            "warning",
            f"all servers are on {hosts.pop()}",
            "that is for trying: who takes this machine takes all; have them where they fail apart",
        )


def _monitors(wanted: Wanted, told: Sequence[dict[str, Any] | str], reached: set[str]) -> Iterator[Finding]:
    proved: set[str] = set()
    for monitor, answer in zip(wanted.monitors, told, strict=True):
        where = without_password(monitor)
        if isinstance(answer, str):
            yield Finding(
                "warning" if wanted.is_relaxed else "error",
                f"{where} does not answer: {answer}",
                "put http: 8222 into its configuration, or say where it is: --cluster-monitors",
            )
            continue
        name, jetstream = str(answer.get("server_name")), answer.get("jetstream") or {}
        config, stats = jetstream.get("config") or {}, jetstream.get("stats") or {}
        proved.add(name)
        if not config:
            yield Finding("error", f"{name}: JetStream is off", JETSTREAM_OFF)
            continue
        yield from _sync(name, config.get("sync_always") is True, wanted.is_relaxed)
        yield from _room(name, config.get("max_storage", 0), stats.get("storage", 0), wanted.free)
        meta = jetstream.get("meta") or {}
        size = meta.get("cluster_size", 1)
        if size < wanted.replicas:
            yield Finding(
                "error",
                f"{name} knows of {size} servers, and {wanted.replicas} are to keep each message",
                "give all of them the same cluster block, with routes to each other",
            )
        elif not meta.get("leader") and wanted.replicas > 1:
            yield Finding(
                "error", f"{name}: JetStream has no leader", "more than half of the servers have to run"
            )
    for name in sorted(reached - proved):
        yield Finding(
            "warning" if wanted.is_relaxed else "error",
            f"{name}: none of the addresses of monitoring is its own",
            "name the monitoring of each server (--cluster-monitors)",
        )


def _sync(name: str, is_always: bool, is_relaxed: bool) -> Iterator[Finding]:
    if is_always:
        yield Finding("ok", f"{name} writes to its disk before it acknowledges (sync_interval: always)")
    elif is_relaxed:
        yield Finding(
            "warning",
            f"{name} acknowledges before it writes to its disk",
            "that is what --cluster-sync relaxed allows: a loss of power may take back what was acknowledged",
        )
    else:
        yield Finding(
            "error",
            f"{name} acknowledges before it writes to its disk",
            "put sync_interval: always into its jetstream block",
        )


def _room(name: str, most: int, used: int, free: int) -> Iterator[Finding]:
    left = most - used
    if most and (left < free or used > FULL * most):
        yield Finding(
            "error" if left < free else "warning",
            f"{name} has room for {_size(left)} more of {_size(most)}",
            "raise max_file_store (max_file) in its jetstream block, or give it a larger disk",
        )
    elif most:
        yield Finding("ok", f"{name} has room for {_size(left)} more of {_size(most)}")


async def _streams(line: Line, wanted: Wanted) -> list[Finding]:
    found: list[Finding] = []
    missing: list[str] = []
    for stream in wanted.names.streams:
        name = wanted.names.stream(stream)
        info, why = await look_at(line, wanted.names, stream, wanted.replicas)
        cluster = info.get("cluster") or {}
        behind = [
            str(one["name"])
            for one in cluster.get("replicas", [])
            if one.get("offline") or not one.get("current")
        ]
        if why:
            found.append(
                Finding(
                    "error",
                    why if name in why else f"{name}: {why}",
                    "a server that was just started needs a moment; else mend that, and check again",
                )
            )
        elif not info:
            missing.append(name)
        elif wanted.replicas > 1 and not cluster.get("leader"):
            found.append(
                Finding("error", f"{name} has no leader", "more than half of its servers have to run")
            )
        elif behind:
            found.append(
                Finding(
                    "warning",
                    f"{name}: {', '.join(behind)} does not have all of it",
                    "see that it runs; one that was just started catches up by itself",
                )
            )
    if len(missing) == len(wanted.names.streams):
        found.append(
            Finding("ok", f"there is no cluster {wanted.names.cluster} yet: the first node makes it")
        )
    elif missing:
        found.append(
            Finding(
                "warning", f"there is no {', '.join(missing)}", "the next node that starts makes it, empty"
            )
        )
    elif not found:
        count = len(wanted.names.streams)
        found.append(Finding("ok", f"all {count} streams of {wanted.names.cluster} are there, and whole"))
    return found


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
