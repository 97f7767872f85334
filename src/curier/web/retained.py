"""Operations that delete retained messages, one or many, and bring them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from curier.broker.retaining import retain
from curier.session.message import ApplicationMessage
from curier.topics.filters import check_topic_filter
from curier.topics.reserved import is_told_by_server
from curier.web import forms, retained_forms, table, undoing
from curier.web.acting import kept
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.topics import MOST_LEVELS, retained_on, shown
from curier.web.walking import in_pieces

MOST_SHOWN: Final = 1 << 20  # bytes of a payload
MOST_NAMED: Final = 20
AT_ONCE: Final = 50  # messages that a walk looks for before others may have their turn


def _delete(scene: Scene, message: ApplicationMessage) -> bool:
    """Delete a retained message, unless another one has taken its place."""
    core = scene.broker.core
    if core.retained.get(message.topic) is not message:
        return False
    retain(core, ApplicationMessage(message.topic, b"", 0, True), None, scene.broker.turn.clock.now())
    return True


@handles(table.UNRETAIN)
async def delete(scene: Scene, asked: forms.TopicForm, who: Known) -> forms.RetainedMessage:
    """Delete a retained message; it is the answer, and can be brought back."""
    message = retained_on(scene, asked.topic)
    scene.audit(who, "retained.delete", topic=asked.topic)
    _delete(scene, message)
    made = shown(message, MOST_SHOWN)
    made.undo = scene.bin.keep([message])
    await kept(scene.broker)
    return made


@handles(table.RESTORE)
async def restore(scene: Scene, asked: retained_forms.Restore, who: Known) -> retained_forms.Restored:
    """Bring deleted messages back."""
    messages = scene.bin.take(asked.undo)
    if not messages:
        minutes = undoing.SECONDS / 60
        why = f"it is undone already, or more than {minutes:g} minutes ago, or much was deleted since"
        raise Problem(404, f"undo: {why}")
    scene.audit(who, "retained.restore", messages=len(messages), topic=messages[0].topic.decode())
    count = 0
    async for message in in_pieces(messages):
        count += _bring_back(scene, message)
    await kept(scene.broker)
    return retained_forms.Restored(count, len(messages) - count)


def _bring_back(scene: Scene, message: ApplicationMessage) -> bool:
    core, now = scene.broker.core, scene.broker.turn.clock.now()
    if core.retained.get(message.topic) is not None or message.is_expired(now):
        return False
    again = ApplicationMessage(  # the journal has forgotten the one that was there
        message.topic, message.payload, message.qos, True, message.properties, message.expires_at
    )
    again.owner, again.written_at = message.owner, message.written_at
    return not retain(core, again, None, now)


@handles(table.PRUNE)
async def prune(scene: Scene, asked: retained_forms.Prune, who: Known) -> retained_forms.Pruned:
    """Delete old messages, or count them."""
    why = check_topic_filter(asked.topic_filter.encode(), MOST_LEVELS)
    if why or asked.topic_filter.startswith("$share/"):
        raise Problem(400, f"topic_filter: {why or 'a Shared Subscription matches no more than its filter'}")
    async with scene.walks:
        found = [one async for one in in_pieces(_old(scene, asked)) if one is not None]
        if not asked.dry_run:
            said = {"messages": len(found), "older_than": asked.older_than, "larger_than": asked.larger_than}
            scene.audit(who, "retained.prune", topic_filter=asked.topic_filter, **said)
            found = [one async for one in in_pieces(found) if _delete(scene, one)]
    answer = retained_forms.Pruned(
        f"{len(found)} retained messages {'would be' if asked.dry_run else 'are'} deleted",
        len(found),
        sum(len(one.payload) for one in found),
        [one.topic.decode() for one in found[:MOST_NAMED]],
    )
    if not asked.dry_run:
        answer.undo = scene.bin.keep(found)
        answer.seconds = undoing.SECONDS if answer.undo else 0.0
        await kept(scene.broker)
    return answer


def _old(scene: Scene, asked: retained_forms.Prune) -> Iterator[ApplicationMessage | None]:
    """What is old enough and large enough; None: time may have passed without any."""
    core = scene.broker.core
    before = scene.broker.turn.clock.now() - asked.older_than
    walk = core.retained.walk(asked.topic_filter.encode())
    while not walk.done:
        for message in walk.next(AT_ONCE):
            since = message.written_at or core.started_at
            if since <= before and len(message.payload) > asked.larger_than:
                if not is_told_by_server(message.topic):
                    yield message
        yield None
