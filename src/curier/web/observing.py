"""What Grafana and Prometheus need to watch a broker: a dashboard, and rules for alerts, of its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

Query = tuple[str, str]
"""An expression, and what its line is called."""


class Panel(NamedTuple):
    """One picture of the dashboard; ``unit`` is Grafana's name of it."""

    title: str
    unit: str
    queries: tuple[Query, ...]


class Rule(NamedTuple):
    """One alert: ``expression`` has held for ``minutes``."""

    name: str
    expression: str
    minutes: int
    severity: str
    summary: str


_OF: Final = '{job="$job",instance=~"$instance"}'


def _rate(metric: str, labels: str = "") -> str:
    inner = f'job="$job",instance=~"$instance"{labels}'
    return f"sum(rate({metric}{{{inner}}}[$__rate_interval]))"


PANELS: Final = (
    Panel("Clients connected", "short", ((f"curier_clients_connected{_OF}", "{{instance}}"),)),
    Panel(
        "PUBLISH packets",
        "ops",
        (
            (_rate("curier_publishes_received_total"), "received"),
            (_rate("curier_publishes_sent_total"), "sent"),
        ),
    ),
    Panel(
        "Bytes",
        "Bps",
        ((_rate("curier_received_bytes_total"), "received"), (_rate("curier_sent_bytes_total"), "sent")),
    ),
    Panel(
        "Messages dropped",
        "ops",
        ((f"sum by (reason) (rate(curier_messages_dropped_total{_OF}[$__rate_interval]))", "{{reason}}"),),
    ),
    Panel(
        "Connections",
        "ops",
        (
            (_rate("curier_connections_accepted_total"), "accepted"),
            (_rate("curier_refusals_total"), "refused"),
            (_rate("curier_protocol_errors_total"), "broke a rule of MQTT"),
        ),
    ),
    Panel(
        "Sessions", "short", ((f"curier_sessions{_OF}", "all"), (f"curier_sessions_stored{_OF}", "stored"))
    ),
    Panel(
        "What waits",
        "bytes",
        (
            (f"curier_queued_bytes{_OF}", "in sessions"),
            (f"curier_output_buffer_bytes{_OF}", "for the network"),
            (f"curier_journal_pending_bytes{_OF}", "for the disk"),
        ),
    ),
    Panel("Retained messages", "short", ((f"curier_retained_messages{_OF}", "{{instance}}"),)),
    Panel("Memory", "bytes", ((f"process_resident_memory_bytes{_OF}", "{{instance}}"),)),
    Panel("Processor", "percentunit", ((_rate("process_cpu_seconds_total"), "used"),)),
    Panel("Clients by listener", "short", ((f"curier_listener_clients_connected{_OF}", "{{listener}}"),)),
    Panel(
        "Certificates end in",
        "s",
        ((f"curier_certificate_end_time_seconds{_OF} - time()", "{{listener}}"),),
    ),
)

RULES: Final = (
    Rule("CurierDown", 'up{job="curier"} == 0', 2, "critical", "The broker cannot be asked for its metrics."),
    Rule(
        "CurierDiskFails",
        "curier_store_failing > 0",
        1,
        "critical",
        "The disk takes nothing, so nothing is acknowledged.",
    ),
    Rule(
        "CurierNodeNotTrusted",
        "curier_cluster_trusted == 0",
        1,
        "critical",
        "A node has no part in its cluster: it acknowledges nothing, and its clients wait.",
    ),
    Rule(
        "CurierNodesSilent",
        'curier_cluster_nodes{state="silent"} > 0',
        1,
        "warning",
        "A node does not renew its lease, and others take its sessions.",
    ),
    Rule(
        "CurierNodeLags",
        "sum by (instance) (curier_cluster_lag_entries) > 10000",
        5,
        "warning",
        "A node reads the log of its cluster more slowly than all nodes write it, so messages are late.",
    ),
    Rule(
        "CurierQueuesFull",
        'rate(curier_messages_dropped_total{reason="queue_full"}[5m]) > 0',
        5,
        "warning",
        "Messages are dropped because queues of clients are full.",
    ),
    Rule(
        "CurierCertificateEnds",
        "curier_certificate_end_time_seconds - time() < 7 * 86400",
        60,
        "warning",
        "A certificate ends within a week.",
    ),
    Rule(
        "CurierRestarted",
        "changes(curier_start_time_seconds[15m]) > 2",
        0,
        "warning",
        "The broker has been started again and again.",
    ),
    Rule(
        "CurierRefusesMany",
        "rate(curier_refusals_total[5m]) > 10",
        10,
        "warning",
        "More than ten connections, subscriptions or messages a second are refused.",
    ),
    Rule(
        "CurierBacklogGrows",
        "deriv(curier_queued_bytes[30m]) > 0 and curier_queued_bytes > 1e9",
        30,
        "warning",
        "More than 1 GB waits for clients, and it gets more.",
    ),
)


def dashboard() -> str:
    """The dashboard, as Grafana imports it."""
    variables = [
        _variable("datasource", "datasource", "prometheus"),
        _variable("job", "query", "label_values(curier_build_info, job)"),
        {
            **_variable("instance", "query", 'label_values(curier_build_info{job="$job"}, instance)'),
            "includeAll": True,
        },
    ]
    made = {
        "title": "curier",
        "uid": "curier",
        "tags": ["mqtt"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": [*_panels()],
    }
    return json.dumps(made, indent=2) + "\n"


def _variable(name: str, kind: str, query: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "type": kind, "query": query}
    if kind == "query":
        made |= {"datasource": {"type": "prometheus", "uid": "${datasource}"}, "refresh": 2}
    return made


def _panels() -> Iterator[dict[str, Any]]:
    for number, panel in enumerate(PANELS):
        yield {
            "id": number + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"h": 8, "w": 8, "x": 8 * (number % 3), "y": 8 * (number // 3)},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
                for at, (expression, legend) in enumerate(panel.queries)
            ],
        }


def rules() -> str:
    """The rules, as a file of Prometheus."""
    lines = ["groups:", "  - name: curier", "    rules:"]
    for rule in RULES:
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {json.dumps(rule.expression)}",
            f"        for: {rule.minutes}m",
            f"        labels: {{ severity: {rule.severity} }}",
            f"        annotations: {{ summary: {json.dumps(rule.summary)} }}",
        ]
    return "\n".join(lines) + "\n"
