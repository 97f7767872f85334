"""The streams of a cluster: made where they are missing, and looked at before anything is written."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

from nats.aio.msg import Msg

from curier.cluster.formats import FIRST
from curier.cluster.orders import LEASES, SESSIONS, SNAPSHOTS
from curier.errors import ClusterAway, ClusterError
from curier.jetstream.line import PERMIT, Line, log
from curier.jetstream.names import Names

ANSWER_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.5
TELL_SECONDS: Final = 5.0
NOT_FOUND: Final = 10059
IN_USE: Final = 10058  # another node has made it meanwhile, otherwise
LEAST_VERSION: Final = (2, 14)  # older ones ignore conditions, or were not tried


async def ensure(line: Line, names: Names, replicas: int, seconds: float) -> set[str]:
    """Make and check all streams; the names of the servers that keep them. Raises ``ClusterAway`` where they
    are not there in time, ``ClusterError`` where they are not as they have to be.
    """
    servers: set[str] = set()
    why = ""
    began = told = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            for stream in names.streams:
                while True:
                    _check_version(line)
                    answer = await _ask(line, f"STREAM.INFO.{names.stream(stream)}")
                    if _code(answer) == NOT_FOUND:
                        answer = await _ask(
                            line, f"STREAM.CREATE.{names.stream(stream)}", _config(names, stream, replicas)
                        )
                        if "config" in answer:
                            log.info("made the stream %s of the cluster", names.stream(stream))
                    if "config" in answer and answer.get("cluster", {}).get("leader", replicas == 1):
                        break
                    if line.denied:
                        raise ClusterError(f"{line.server} says {line.denied}: {PERMIT}")
                    why = line.why or answer.get("error", {}).get("description", "its streams have no leader")
                    if (now := time.monotonic()) - told >= TELL_SECONDS:
                        told = now
                        log.info("waiting for the streams of NATS since %d s: %s", now - began, why)
                    await asyncio.sleep(AGAIN_SECONDS)
                _check(names, stream, replicas, answer["config"])
                cluster = answer.get("cluster", {})
                servers |= {cluster.get("leader", ""), *(one["name"] for one in cluster.get("replicas", ()))}
    except TimeoutError:
        raise ClusterAway(
            f"NATS does not give this cluster its streams within {seconds:g} s: {line.why or why}. "
            f"JetStream has to be on, with {replicas} servers or more that see each other"
        ) from None
    return servers - {""}


async def look_at(line: Line, names: Names, stream: int, replicas: int) -> tuple[dict[str, Any], str]:
    """What NATS tells of a stream, {} where there is none; and what is wrong with it, or ""."""
    answer = await _ask(line, f"STREAM.INFO.{names.stream(stream)}")
    if "config" not in answer:
        error = answer.get("error", {})
        is_missing = error.get("err_code") == NOT_FOUND
        return {}, "" if is_missing else error.get("description", "there is no answer")
    try:
        _check(names, stream, replicas, answer["config"])
    except ClusterError as error:
        return answer, str(error)
    return answer, ""


def is_too_old(version: str) -> bool:
    """Or of no version that is known."""
    words = version.split(".")
    if len(words) < 3 or not all(word.isdigit() for word in words[:2]):
        return True
    return (int(words[0]), int(words[1])) < LEAST_VERSION


def _config(names: Names, stream: int, replicas: int) -> dict[str, Any]:
    keeps_last = stream in (LEASES, SESSIONS, SNAPSHOTS)
    return {
        "name": names.stream(stream),
        "subjects": [names.all_of(stream), *([names.all_parts] if stream == SESSIONS else ())],
        "storage": "file",
        "retention": "limits",
        "discard": "new",  # what is full refuses, and forgets nothing
        "num_replicas": replicas,
        "max_msgs_per_subject": 1 if keeps_last else -1,
        "max_age": 0,
        "max_msgs": -1,
        "max_bytes": -1,
        "duplicate_window": 1_000_000_000,  # it is not used
        "allow_direct": True,
        "metadata": {"curier.format": str(FIRST), "curier.partitions": str(names.partitions)},
    }


def _check_version(line: Line) -> None:
    if line.is_up and is_too_old(line.version):
        raise ClusterError(
            f"the server {line.server} is NATS {line.version}, and a cluster needs "
            f"{'.'.join(map(str, LEAST_VERSION))} or newer"
        )


def _check(names: Names, stream: int, replicas: int, found: dict[str, Any]) -> None:
    """Whether a stream that was there keeps the promises."""
    name, wanted = names.stream(stream), _config(names, stream, replicas)
    metadata = found.get("metadata") or {}
    for key, what in (("curier.format", "the format"), ("curier.partitions", "the number of partitions")):
        if metadata.get(key) != wanted["metadata"][key]:
            raise ClusterError(
                f"{name}: {what} is {metadata.get(key, 'not said')} there, {wanted['metadata'][key]} here: "
                "set the same on all nodes, run the same version, or give this cluster another name"
            )
    if found.get("num_replicas", 1) < replicas:
        raise ClusterError(
            f"{name} has {found.get('num_replicas', 1)} replicas and needs {replicas}: "
            f"nats stream edit {name} --replicas {replicas}"
        )
    for key in (
        "subjects",
        "storage",
        "retention",
        "discard",
        "max_msgs_per_subject",
        "max_age",
        "allow_direct",
    ):
        if found.get(key) != wanted[key]:
            raise ClusterError(
                f"{name}: {key} is {found.get(key)!r} and has to be {wanted[key]!r}: a cluster would lose "
                f"what it acknowledged; nats stream edit {name}"
            )
    if found.get("sealed") or found.get("mirror") or found.get("sources"):
        raise ClusterError(f"{name} is sealed, a mirror, or fed by another stream: a cluster cannot use it")
    if found.get("max_msgs", -1) > 0:
        raise ClusterError(f"{name} has a limit of messages: nats stream edit {name} --max-msgs=-1")


async def _ask(line: Line, what: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def heard(message: Msg | None) -> bool:
        if not answered.done():
            answer = json.loads(message.data) if message is not None and message.data else {}
            answered.set_result(answer if isinstance(answer, dict) else {})
        return True

    payload = json.dumps(request).encode() if request is not None else b""
    line.ask(f"$JS.API.{what}", payload, heard, ANSWER_SECONDS)
    return await answered


def _code(answer: dict[str, Any]) -> int:
    return int(answer.get("error", {}).get("err_code", 0))
