"""Flows and diagrams as plain data for ``json.dumps``: what they say in words, and what programs ask for.

Times are seconds since the epoch, sizes are in bytes. Payloads are base64 of their beginning.
"""

from __future__ import annotations

import base64
from typing import Any

from curier.trace.drawing.diagram import Arrow, Diagram, Fold, Note, Row
from curier.trace.events import Event, Packet
from curier.trace.fate import fate_of
from curier.trace.flows import ConnectionLife, Flow, Leg, Publication, Step, SubscriptionFlow


def flow_json(flow: Flow) -> dict[str, Any]:
    """A flow with all that was kept of it."""
    told: dict[str, Any] = {
        "flow": flow.kind,
        "number": flow.number,
        "began": flow.began,
        "last": flow.last,
        "finished": flow.is_finished,
    }
    if isinstance(flow, Publication):
        told.update(_publication(flow))
    elif isinstance(flow, ConnectionLife):
        told.update(_life(flow))
    elif isinstance(flow, SubscriptionFlow):
        told.update(_subscription(flow))
    told["waits"] = [{"whom": one.whom, "what": one.what, "since": one.since} for one in flow.waits()]
    told["steps"] = [_step(step) for step in flow.steps]
    told["left_out"] = flow.left_out
    return told


def _publication(flow: Publication) -> dict[str, Any]:
    return {
        "publication": flow.publication,
        "topic": flow.topic,
        "qos": flow.qos,
        "retain": flow.retain,
        "publisher": flow.publisher,
        "origin": flow.origin,
        "payload": base64.b64encode(flow.payload).decode(),
        "payload_size": flow.payload_size,
        "payload_is_whole": len(flow.payload) == flow.payload_size,
        "nobody": flow.nobody,
        "incoming": _leg(flow.incoming) if flow.incoming is not None else None,
        "deliveries": [{**_leg(leg), "fate": fate_of(leg)} for leg in flow.deliveries],
        "more_deliveries": flow.more_legs,
    }


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "client_id": leg.client_id,
        "qos": leg.qos,
        "packet_id": leg.packet_id,
        "state": leg.state,
        "why": leg.why,
        "sends": leg.sends,
        "began": leg.began,
        "changed": leg.changed,
        "got_at": leg.got_at or None,
        "away_since": leg.away_since or None,
    }


def _life(flow: ConnectionLife) -> dict[str, Any]:
    names = (
        *("wire", "client_id", "version", "user", "client_address", "server_address", "listener"),
        *("keep_alive", "will_topic", "session_expiry", "ends_session", "reason_code", "is_open"),
        *("ended_by", "why", "pings", "taken_over_by"),
    )
    told = {name: getattr(flow, name) for name in names}
    for name in ("packets", "bytes", "publishes"):
        told[name] = {"to_server": getattr(flow, name)[0], "from_server": getattr(flow, name)[1]}
    return told


def _subscription(flow: SubscriptionFlow) -> dict[str, Any]:
    return {
        "client_id": flow.client_id,
        "packet_id": flow.packet_id,
        "subscribes": flow.is_subscribe,
        "filters": flow.filters,
        "options": flow.options,
        "reason_codes": flow.reason_codes,
        "retained": flow.retained,
        "why": flow.why,
    }


def _step(step: Step) -> dict[str, Any]:
    told: dict[str, Any] = {"time": step.time, "what": step.name, "label": step.label, "note": step.note}
    if step.leg is not None:
        told["client_id"] = step.leg.client_id
    if step.to_server is not None:
        told["to_server"] = step.to_server
    if step.lost:
        told["lost"] = True
    if step.trouble:
        told["trouble"] = True
    told.update(_bytes(step.event))
    return told


def _bytes(event: Event | None) -> dict[str, Any]:
    return {"bytes": event.data.hex(), "cut": event.cut} if isinstance(event, Packet) else {}


def diagram_json(diagram: Diagram) -> dict[str, Any]:
    """A diagram: lanes, and rows that name them by their place."""
    lanes = [
        {
            "name": lane.name,
            "note": lane.note,
            "count": lane.count,
            "members": list(lane.members),
            "broker": lane.is_broker,
            "away": lane.is_away,
        }
        for lane in diagram.lanes
    ]
    rows = [_row(row, diagram.began) for row in diagram.rows]
    return {
        "title": diagram.title,
        "began": diagram.began,
        "lanes": lanes,
        "rows": rows,
        "below": list(diagram.below),
    }


def _row(row: Row, began: float) -> dict[str, Any]:
    told: dict[str, Any] = {"time": row.time, "after": row.time - began}
    if isinstance(row, Fold):
        return {**told, "row": "fold", "count": row.count}
    if isinstance(row, Note):
        return {**told, "row": "note", "lane": row.lane, "text": row.text, "trouble": row.trouble}
    assert isinstance(row, Arrow)
    return {
        **told,
        "row": "arrow",
        "from": row.source,
        "to": row.target,
        "label": row.label,
        "note": row.note,
        "style": row.style,
        "trouble": row.trouble,
        "count": row.count,
        **_bytes(row.event),
    }
