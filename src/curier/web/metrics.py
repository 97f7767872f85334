"""``/metrics``: one table of what the broker counts, in Prometheus's text format.

Names follow its conventions and stay as they are once they were released: base units, ``_total`` for what
only grows, no rates. Labels have few values, all from the settings or from this file, never what clients say.
Asking costs the same for one client and for a hundred thousand.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from operator import attrgetter
from typing import Final, NamedTuple

from curier.cluster_view import ClusterView
from curier.inside import BridgeNumbers
from curier.net.host import Process
from curier.server import Broker
from curier.version import VERSION

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]
"""Labels, and the value."""


class Metric(NamedTuple):
    """One metric: what it is called, which kind it is, what it means, and how it is read."""

    name: str
    kind: str
    help: str
    read: Callable[[Broker], Iterable[Sample] | float | None]
    """Its one value, or samples with labels; None: it is not known here."""

    def samples(self, broker: Broker) -> list[Sample] | None:
        """What it is now, with labels; None: it is not known here."""
        found = self.read(broker)
        if found is None:
            return None
        return [({}, found)] if isinstance(found, int | float) else [*found]


def _gauge(name: str, help: str, read: Callable[[Broker], Iterable[Sample] | float | None]) -> Metric:
    return Metric(name, "gauge", help, read)


def _counter(name: str, help: str, read: Callable[[Broker], Iterable[Sample] | float | None]) -> Metric:
    return Metric(name, "counter", help, read)


def written_labels(labels: Mapping[str, str]) -> str:
    """As they stand behind a name."""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _drops(broker: Broker) -> Iterable[Sample]:
    counted = broker.core.statistics
    yield {"reason": "queue_full"}, counted.dropped_full
    yield {"reason": "other"}, max(0, counted.dropped - counted.dropped_full)


def _subscriptions(broker: Broker) -> Iterable[Sample]:
    counted = broker.core.statistics
    yield {"kind": "plain"}, counted.subscriptions
    yield {"kind": "shared"}, counted.shared_subscriptions


def _of_entrances(name: str) -> Callable[[Broker], Iterable[Sample]]:
    def read(broker: Broker) -> Iterable[Sample]:
        for entrance in broker.core.statistics.entrances:
            yield {"listener": entrance.name or entrance.level}, getattr(entrance, name)

    return read


def _journal_bytes(broker: Broker) -> float | None:
    journal = broker.core.journal
    return None if journal is None else journal.pending_bytes


def _bans(broker: Broker) -> float | None:
    return None if broker.bans is None else len(broker.bans.present())


def _certificates(broker: Broker) -> Iterable[Sample] | None:
    found = [(door.entrance, broker.certificates_end(door.listener)) for door in broker.doorways]
    return [
        ({"listener": entrance.name or entrance.level}, at) for entrance, at in found if math.isfinite(at)
    ] or None


def _of_bridges(read: Callable[[BridgeNumbers], float]) -> Callable[[Broker], Iterable[Sample] | None]:
    return lambda broker: [({"bridge": one.name}, read(one)) for one in broker.bridges()] or None


def _carried(broker: Broker) -> Iterable[Sample] | None:
    return [
        ({"bridge": one.name, "direction": direction}, value)
        for one in broker.bridges()
        for direction, value in (("out", one.out), ("in", one.into))
    ] or None


def _not_carried(broker: Broker) -> Iterable[Sample] | None:
    return [
        ({"bridge": one.name, "reason": reason}, value)
        for one in broker.bridges()
        for reason, value in one.lost.items()
    ] or None


def _of_cluster(read: Callable[[ClusterView], float]) -> Callable[[Broker], float | None]:
    def reading(broker: Broker) -> float | None:
        view = broker.cluster_view
        return None if view is None else read(view)

    return reading


def _nodes(broker: Broker) -> Iterable[Sample] | None:
    view = broker.cluster_view
    if view is None:
        return None
    standings = [one.standing for one in view.nodes]
    return [({"state": one}, standings.count(one)) for one in ("living", "silent", "over", "died")]


def _lags(broker: Broker) -> Iterable[Sample] | None:
    view = broker.cluster_view
    if view is None:
        return None
    return [({"stream": one.stream}, one.lag) for one in view.streams if one.read >= 0 and one.last >= 0]


def _memory(broker: Broker) -> float | None:
    return _process.memory() or None


def _cpu(broker: Broker) -> float:
    used = os.times()
    return used.user + used.system


def _version(broker: Broker) -> Iterable[Sample]:
    yield {"version": VERSION}, 1


def _store_failing(broker: Broker) -> float:
    return int(bool(broker.core.store_trouble))


def _at(path: str) -> Callable[[Broker], float]:
    """A number that the core has."""
    read: Callable[[Broker], float] = attrgetter(f"core.{path}")
    return read


def _size(name: str) -> Callable[[Broker], float]:
    """How many there are in a table of the core."""
    table: Callable[[Broker], Sized] = attrgetter(f"core.{name}")
    return lambda broker: len(table(broker))


_process: Final = Process()

METRICS: Final = (
    _gauge("curier_build_info", "1; the version is a label.", _version),
    _gauge("curier_start_time_seconds", "When the broker started, since 1970.", _at("started_at")),
    _gauge("curier_connections", "Network Connections, with those not yet accepted.", _size("connections")),
    _gauge("curier_clients_connected", "Clients that are connected.", _at("statistics.connected")),
    _gauge("curier_sessions", "Sessions, whether their clients are connected or not.", _size("sessions")),
    _gauge(
        "curier_sessions_stored",
        "Sessions that outlive their connections.",
        _at("statistics.stored_sessions"),
    ),
    _counter(
        "curier_connections_accepted_total", "Network Connections that came.", _at("statistics.accepted")
    ),
    _counter("curier_connect_packets_total", "CONNECT packets received.", _at("statistics.connects")),
    _counter(
        "curier_refusals_total",
        "Connections, subscriptions and messages refused within the rules.",
        _at("statistics.refused"),
    ),
    _counter(
        "curier_protocol_errors_total",
        "Connections that broke a rule of MQTT.",
        _at("statistics.protocol_errors"),
    ),
    _counter(
        "curier_packets_tolerated_total",
        "Packets that broke a rule, and were taken.",
        _at("traffic.tolerated"),
    ),
    _counter(
        "curier_packets_received_total", "MQTT Control Packets received.", _at("traffic.packets_received")
    ),
    _counter("curier_packets_sent_total", "MQTT Control Packets sent.", _at("traffic.packets_sent")),
    _counter(
        "curier_publishes_received_total", "PUBLISH packets received.", _at("traffic.publishes_received")
    ),
    _counter("curier_publishes_sent_total", "PUBLISH packets sent.", _at("traffic.publishes_sent")),
    _counter(
        "curier_payload_received_bytes_total",
        "Payloads of PUBLISH packets received.",
        _at("traffic.publish_bytes_received"),
    ),
    _counter(
        "curier_payload_sent_bytes_total",
        "Payloads of PUBLISH packets sent.",
        _at("traffic.publish_bytes_sent"),
    ),
    _counter("curier_received_bytes_total", "Bytes of MQTT received.", _at("traffic.bytes_received")),
    _counter("curier_sent_bytes_total", "Bytes of MQTT sent.", _at("traffic.bytes_sent")),
    _counter("curier_messages_dropped_total", "Messages that will not reach one of their receivers.", _drops),
    _counter(
        "curier_messages_expired_total",
        "Messages whose Message Expiry Interval has passed.",
        _at("statistics.expired_messages"),
    ),
    _counter(
        "curier_sessions_expired_total",
        "Sessions whose Session Expiry Interval has passed.",
        _at("statistics.expired_sessions"),
    ),
    _gauge("curier_subscriptions", "Subscriptions of all sessions.", _subscriptions),
    _gauge(
        "curier_retained_messages",
        "Topics with a retained message, those of $SYS among them.",
        _size("retained"),
    ),
    _gauge(
        "curier_retained_bytes",
        "Topics, payloads and Properties of retained messages.",
        _at("statistics.retained_bytes"),
    ),
    _gauge(
        "curier_queued_bytes",
        "Topics, payloads and Properties of messages that wait in sessions.",
        _at("statistics.queued_bytes"),
    ),
    _gauge("curier_input_buffer_bytes", "Packets that have begun to come.", _at("statistics.input_bytes")),
    _gauge(
        "curier_output_buffer_bytes", "Output that the network has not taken.", _at("statistics.output_bytes")
    ),
    _gauge("curier_journal_pending_bytes", "What waits for the disk.", _journal_bytes),
    _gauge("curier_store_failing", "1 while the disk takes nothing.", _store_failing),
    _gauge("curier_bans", "Addresses, and users or clients at addresses, that are banned.", _bans),
    _gauge(
        "curier_listener_clients_connected", "Clients connected by a listener.", _of_entrances("connected")
    ),
    _counter(
        "curier_listener_connections_accepted_total",
        "Network Connections that came to a listener.",
        _of_entrances("accepted"),
    ),
    _counter(
        "curier_listener_received_bytes_total",
        "Bytes of MQTT received by a listener.",
        _of_entrances("bytes_received"),
    ),
    _counter(
        "curier_listener_sent_bytes_total", "Bytes of MQTT sent by a listener.", _of_entrances("bytes_sent")
    ),
    _gauge(
        "curier_certificate_end_time_seconds",
        "When a listener's first certificate ends, since 1970.",
        _certificates,
    ),
    _gauge(
        "curier_bridge_connected",
        "1 while a bridge is connected to the other broker.",
        _of_bridges(lambda one: int(one.state == "connected")),
    ),
    _counter(
        "curier_bridge_connects_total",
        "How often a bridge has connected to the other broker.",
        _of_bridges(lambda one: one.connects),
    ),
    _counter("curier_bridge_messages_total", "Messages that a bridge has carried.", _carried),
    _counter("curier_bridge_messages_dropped_total", "Messages that a bridge has not carried.", _not_carried),
    _gauge(
        "curier_bridge_waiting_messages",
        "Messages that wait here for a bridge, those on their way among them.",
        _of_bridges(lambda one: one.waiting),
    ),
    _gauge(
        "curier_cluster_trusted",
        "1 while this node of a cluster may speak for its sessions.",
        _of_cluster(lambda view: int(view.is_trusted)),
    ),
    _gauge(
        "curier_cluster_connected",
        "1 while this node is connected to NATS.",
        _of_cluster(lambda view: int(bool(view.server))),
    ),
    _gauge(
        "curier_cluster_nodes",
        "Nodes of the cluster as this one knows them; silent: a lease is not renewed, over: it has left, "
        "died: others ended it.",
        _nodes,
    ),
    _gauge(
        "curier_cluster_sessions",
        "Sessions that this node owns.",
        _of_cluster(lambda view: view.sessions),
    ),
    _gauge(
        "curier_cluster_claims",
        "Sessions that are on their way to this node.",
        _of_cluster(lambda view: view.claims),
    ),
    _gauge(
        "curier_cluster_lag_entries", "Entries of the log of all nodes that this one has not read.", _lags
    ),
    _gauge(
        "curier_cluster_log_entries",
        "Entries of the log of all nodes that are left: what nobody needs is cut off.",
        _of_cluster(lambda view: view.log),
    ),
    _gauge("process_resident_memory_bytes", "Memory of the process.", _memory),
    _counter("process_cpu_seconds_total", "Time of processors that the process has used.", _cpu),
)
"""All of them. docs/metrics.md is written from this table."""


def text(broker: Broker, metrics: Sequence[Metric] = METRICS) -> str:
    """The page."""
    lines: list[str] = []
    for metric in metrics:
        found = metric.samples(broker)
        if found is None:
            continue
        lines += (f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}")
        lines += [f"{metric.name}{written_labels(labels)} {_written(value)}" for labels, value in found]
    return "\n".join(lines) + "\n"


def _written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")
