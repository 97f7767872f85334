"""Whether what the servers call stored is on their disks: each is asked, at the port of its monitoring.

JetStream acknowledges before it has told the disk, unless ``sync_interval: always`` stands in the server's
configuration. A loss of power at all servers, or at one and a bad moment, would take back what was
acknowledged then (https://jepsen.io/analyses/nats-2.12.1).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from curier.errors import ClusterAway, ClusterError
from curier.jetstream.line import without_password

MONITORING: Final = 8222
ANSWER_SECONDS: Final = 3.0
MOST_BYTES: Final = 1 << 20
RELAXED: Final = (
    "or say that a loss of power may take back what was acknowledged: --cluster-sync relaxed "
    '(in the configuration file, sync = "relaxed")'
)


class WritesLate(ClusterError):
    """A server says that it does not write at once."""


def monitors_of(servers: Sequence[str]) -> tuple[str, ...]:
    """Where the monitoring of servers is that use the usual port for it."""
    hosts = [urlsplit(server).hostname or "" for server in servers]
    return tuple([f"http://{f'[{host}]' if ':' in host else host}:{MONITORING}" for host in hosts])


async def prove(monitors: Sequence[str], servers: set[str], tls: ssl.SSLContext | None = None) -> set[str]:
    """That ``servers``, by name, write at once. Returns those that may be away, as their monitoring is; more
    than half of them have to be known to write so. Raises ``ClusterError``: ``ClusterAway`` where too many
    do not answer, ``WritesLate`` of a server that does not.
    """
    answers = await asyncio.gather(*[asyncio.to_thread(told_by, monitor, tls) for monitor in monitors])
    proved, lazy, reasons = set[str](), set[str](), list[str]()
    off = 0
    for monitor, answer in zip(monitors, answers, strict=True):
        if isinstance(answer, str):
            reasons.append(f"{without_password(monitor)} does not answer ({answer})")
            continue
        name, config = str(answer.get("server_name")), (answer.get("jetstream") or {}).get("config") or {}
        if config.get("sync_always") is True:
            proved.add(name)
        elif not config:  # it keeps nothing, as one that is away
            off += 1
            reasons.append(f"{name} has JetStream off: was its disk full? Make room, and start it again")
        else:
            lazy.add(name)
            reasons.append(f"{name} does not write at once")
    missing = servers - proved
    silent = off + sum([isinstance(answer, str) for answer in answers])
    if missing & lazy or len(missing) > silent or 2 * len(servers & proved) <= len(servers):
        why = f" ({'; '.join(reasons)})" if reasons else ""
        kind = WritesLate if missing & lazy else ClusterAway if len(missing) <= silent else ClusterError
        raise kind(
            f"not known to write at once, as a cluster needs: {', '.join(sorted(missing))}{why}. "
            "Put sync_interval: always into the jetstream block of every server's configuration, and "
            "http: 8222, and name all servers, or with --cluster-monitors their monitoring; "
            f"{RELAXED}"
        )
    return missing


def told_by(monitor: str, tls: ssl.SSLContext | None = None) -> dict[str, Any] | str:
    """What it says, or in words why it does not. ``tls`` is for https."""
    parts = urlsplit(monitor)
    if parts.scheme not in ("http", "https"):
        return "not a URL of http or https"
    request = Request(f"{without_password(monitor).rstrip('/')}/varz")
    if parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {b64encode(who.encode()).decode()}")
    try:
        with urlopen(request, timeout=ANSWER_SECONDS, context=tls) as answer:
            found = json.loads(answer.read(MOST_BYTES))
    except HTTPError as error:
        with error:
            return _status(error.code)
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            why = error.reason.verify_message.rstrip(".")
            return f"its certificate is not accepted: {why}; see --cluster-cafile"
        return str(error.reason)
    except json.JSONDecodeError:
        return "its answer is none of NATS: is it the port of http or http_port?"
    except (OSError, ValueError, HTTPException) as error:
        return str(error) or type(error).__name__
    return found if isinstance(found, dict) else "its answer is none of NATS"


def _status(code: int) -> str:
    if code in (401, 403):
        return f"HTTP {code}: it wants a user, so name it as https://USER:PASSWORD@HOST"
    return f"HTTP {code}: is this the monitoring of NATS?"
