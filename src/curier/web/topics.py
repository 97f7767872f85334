"""Operations on topics: retained messages, and publishing."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from curier.broker import picking
from curier.broker.retaining import writer_of
from curier.errors import MqttError
from curier.session.message import ApplicationMessage
from curier.topics.filters import check_topic_filter, check_topic_name
from curier.topics.reserved import why_not_published
from curier.types import Message, QoS
from curier.web import forms, table
from curier.web.acting import kept
from curier.web.handling import handles
from curier.web.lately import RETAINED, LevelKind, level_pieces, topic_pieces
from curier.web.problems import Problem
from curier.web.properties import shown_properties
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.walking import Order, page

MOST_LEVELS = 65_536

_SORTS: Final = {
    "topic": picking.NAME,
    "newest": picking.NEWEST,
    "oldest": picking.OLDEST,
    "size": picking.SIZE,
}


@handles(table.LEVEL)
async def level(scene: Scene, asked: forms.LevelQuery, who: Known) -> forms.Level:
    """What stands below a topic."""
    prefix = None if asked.prefix is None else asked.prefix.encode()
    pieces = level_pieces(scene.broker.core, prefix, scene.sketch if asked.lately else None)
    order: Order[LevelKind] = Order(lambda some: [level.decode() for level, _ in some])
    found = await page(scene.walks, pieces, order, asked.cursor, asked.limit)
    above = "" if asked.prefix is None else f"{asked.prefix}/"
    return forms.Level([_level_row(above, *one) for one in found.rows], found.next)


def _level_row(above: str, level: bytes, kind: int) -> forms.LevelRow:
    name = level.decode()
    is_retained = bool(kind & RETAINED)
    went_by = bool(kind & picking.WENT_BY) and not is_retained
    return forms.LevelRow(name, above + name, is_retained, bool(kind & picking.MORE), went_by)


@handles(table.TOPICS)
async def topics(scene: Scene, asked: forms.TopicsQuery, who: Known) -> forms.Topics:
    """A page of topics."""
    why = check_topic_filter(asked.topic_filter.encode(), MOST_LEVELS)
    if why or asked.topic_filter.startswith("$share/"):
        raise Problem(400, f"topic_filter: {why or 'a Shared Subscription matches no more than its filter'}")
    if asked.sort not in _SORTS:
        raise Problem(400, f"sort: expected one of {', '.join(_SORTS)}, got {asked.sort[:100]!r}")
    by = _SORTS[asked.sort]
    if asked.lately and by != picking.NAME:
        raise Problem(400, "lately: what is not retained has no age and no size here; sort by topic")
    sketch = scene.sketch if asked.lately else None
    picker = picking.TopicPicker(by, asked.search.lower())
    pieces = topic_pieces(scene.broker.core, asked.topic_filter.encode(), picker, sketch)
    found = await page(scene.walks, pieces, picker, asked.cursor, asked.limit)
    return forms.Topics(
        [_topic_row(scene, one, asked.preview) for one in found.rows], found.found, found.next
    )


def _topic_row(scene: Scene, row: ApplicationMessage | bytes, preview: int) -> forms.TopicRow:
    message = scene.broker.core.retained.get(row) if isinstance(row, bytes) else row  # by now it may be
    if message is None:
        assert isinstance(row, bytes)
        return forms.TopicRow(row.decode(), forms.Payload(0, 0), 0, 0.0, "", retained=False)
    payload = shown_payload(message.payload, preview)
    return forms.TopicRow(
        message.topic.decode(), payload, message.qos, message.written_at, writer_of(message)
    )


@handles(table.RETAINED)
async def retained(scene: Scene, asked: forms.RetainedQuery, who: Known) -> forms.RetainedMessage:
    """One retained message."""
    return shown(retained_on(scene, asked.topic), asked.limit)


def retained_on(scene: Scene, topic: str) -> ApplicationMessage:
    """What is retained on a topic. Raises ``Problem`` where nothing is."""
    message = scene.broker.core.retained.get(topic.encode())
    if message is None or message.is_expired(scene.broker.turn.clock.now()):
        raise Problem(404, f"nothing is retained on {topic[:200]!r}")
    return message


@handles(table.PUBLISH)
async def publish(scene: Scene, asked: forms.Publish, who: Known) -> forms.Done:
    """Publish a message."""
    payload = _bytes("base64", asked.base64) if asked.base64 is not None else (asked.text or "").encode()
    if asked.text is not None and asked.base64 is not None:
        raise Problem(400, "give a payload as text or as base64, not both")
    topic = asked.topic.encode()
    why = check_topic_name(topic, MOST_LEVELS) or why_not_published(topic)
    if b"\0" in topic:  # [MQTT-1.5.4-2]
        why = "there is U+0000 in it, which no text of MQTT may have"
    if why:
        raise Problem(400, f"topic: {why}")
    message = Message(
        asked.topic,
        payload,
        QoS(asked.qos),
        asked.retain,
        asked.payload_is_text,
        asked.expiry,
        asked.content_type,
        asked.response_topic,
        None if asked.correlation_data is None else _bytes("correlation_data", asked.correlation_data),
        tuple((one.name, one.value) for one in asked.user_properties),
    )
    if asked.retain and not scene.broker.options.retain_available:
        raise Problem(409, "this broker retains nothing (retain_available)")
    if asked.retain:
        scene.audit(who, "publish", topic=asked.topic, bytes=len(payload))
    try:
        scene.broker.publish(message)
    except (ValueError, MqttError) as error:  # also of a Property that cannot be
        raise Problem(400, str(error)) from None
    if asked.qos or asked.retain:
        await kept(scene.broker)
    return forms.Done(f"published on {asked.topic!r}, bytes: {len(payload)}")


def _bytes(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Problem(400, f"{name}: this is no base64") from None


def shown(message: ApplicationMessage, limit: int) -> forms.RetainedMessage:
    """A message, with so many bytes of its payload."""
    owner = message.owner
    made = forms.RetainedMessage(
        topic=message.topic.decode(),
        payload=shown_payload(message.payload, limit),
        qos=message.qos,
        expires_at=message.expires_at,
        client=writer_of(message),
        source=getattr(owner, "source", ""),
        written_at=message.written_at,
    )
    shown_properties(made, message.properties)
    return made


def shown_payload(payload: bytes, limit: int) -> forms.Payload:
    """The beginning of a payload: text where it is text as far as it is shown, and no control characters."""
    piece = payload[:limit]
    try:
        text = piece.decode()
    except UnicodeDecodeError as error:
        if len(piece) == len(payload) or error.start < len(piece) - 3:
            return forms.Payload(len(payload), len(piece), base64=base64.b64encode(piece).decode())
        piece = piece[: error.start]  # the rest of this character is what was cut off
        text = piece.decode()
    if any(ord(one) < 32 and one not in "\t\n\r" for one in text):
        return forms.Payload(len(payload), len(piece), base64=base64.b64encode(piece).decode())
    return forms.Payload(len(payload), len(piece), text=text)
