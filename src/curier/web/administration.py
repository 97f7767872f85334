"""Operations on the broker itself."""

from __future__ import annotations

import asyncio
import math

from curier.errors import MqttError
from curier.settings.log_levels import LOG_LEVELS, TOPICS
from curier.version import VERSION
from curier.web import bridge_forms, forms, table
from curier.web.handling import handles
from curier.web.keeper import Keeper
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known
from curier.web.troubles import troubles


@handles(table.OVERVIEW)
async def overview(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Overview:
    """How the broker is."""
    return overview_of(scene)


def overview_of(scene: Scene) -> forms.Overview:
    """The same, for whoever else tells it."""
    core = scene.broker.core
    counted, traffic = core.statistics, core.traffic
    now = scene.broker.turn.clock.now()
    last = scene.history.last
    return forms.Overview(
        version=f"curier {VERSION}",
        time=now,
        started_at=core.started_at,
        uptime=now - core.started_at,
        troubles=troubles(scene.broker, last),
        connections=len(core.connections),
        clients=counted.connected,
        clients_maximum=counted.connected_maximum,
        sessions=len(core.sessions),
        subscriptions=counted.subscriptions,
        shared_subscriptions=counted.shared_subscriptions,
        retained=len(core.retained),
        retained_bytes=counted.retained_bytes,
        queued_bytes=counted.queued_bytes,
        output_bytes=counted.output_bytes,
        input_bytes=counted.input_bytes,
        memory=core.host.memory(),
        memory_limit=scene.memory_limit,
        loop_lag=last.loop_lag if last is not None else 0.0,
        total_connects=counted.connects,
        total_refused=counted.refused,
        total_protocol_errors=counted.protocol_errors,
        total_packets_received=traffic.packets_received,
        total_packets_sent=traffic.packets_sent,
        total_publishes_received=traffic.publishes_received,
        total_publishes_sent=traffic.publishes_sent,
        total_bytes_received=traffic.bytes_received,
        total_bytes_sent=traffic.bytes_sent,
        total_dropped=counted.dropped,
        total_dropped_full=counted.dropped_full,
        total_expired=counted.expired_messages,
    )


@handles(table.HISTORY)
async def history(scene: Scene, asked: forms.HistoryQuery, who: Known) -> forms.HistoryAnswer:
    """How the broker was."""
    return forms.HistoryAnswer(*scene.history.of(asked.seconds))


@handles(table.LISTENERS)
async def listeners(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Listeners:
    """All listeners."""
    return forms.Listeners(
        [
            forms.ListenerRow(
                url=one.listener.url,
                real=[str(opened.address) for opened in one.opened],
                name=one.listener.name,
                connected=one.entrance.connected,
                connected_maximum=one.entrance.connected_maximum,
                accepted=one.entrance.accepted,
                bytes_received=one.entrance.bytes_received,
                bytes_sent=one.entrance.bytes_sent,
                mount=one.entrance.mount.decode(),
                certificate_ends=ends if math.isfinite(ends) else 0.0,
            )
            for one in scene.broker.doorways
            for ends in [scene.broker.certificates_end(one.listener)]
        ]
    )


@handles(table.BRIDGES)
async def bridges(scene: Scene, asked: forms.Nothing, who: Known) -> bridge_forms.Bridges:
    """All bridges."""
    return bridge_forms.Bridges(
        [
            bridge_forms.BridgeRow(**{**one._asdict(), "lost": dict(one.lost)})
            for one in scene.broker.bridges()
        ]
    )


def keeper_of(scene: Scene) -> Keeper:
    """Whoever knows the settings. Raises ``Problem`` where a program has begun the broker by itself."""
    if scene.keeper is None:
        raise Problem(409, "this broker is part of a program, which has its settings")
    return scene.keeper


@handles(table.SETTINGS)
async def settings(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Settings:
    """All settings."""
    return forms.Settings(keeper_of(scene).settings())


@handles(table.CHECK)
async def check(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Checked:
    """What would be wrong."""
    return forms.Checked(await asyncio.to_thread(keeper_of(scene).check))


@handles(table.RELOAD)
async def reload(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Done:
    """Read the settings again."""
    keeper = keeper_of(scene)
    scene.audit(who, "config.reload")
    try:
        return forms.Done(await keeper.reload())
    except MqttError as error:
        raise Problem(409, f"{error}; nothing has changed") from None


@handles(table.LOG_LEVELS)
async def log_levels(scene: Scene, asked: forms.Nothing, who: Known) -> forms.LogLevels:
    """How much is logged."""
    return forms.LogLevels(keeper_of(scene).log_levels())


@handles(table.SET_LOG_LEVEL)
async def set_log_level(scene: Scene, asked: forms.SetLogLevel, who: Known) -> forms.LogLevels:
    """Log more, or less."""
    keeper = keeper_of(scene)
    if asked.level not in LOG_LEVELS:
        raise Problem(400, f"level: expected one of {', '.join(LOG_LEVELS)}, got {asked.level[:100]!r}")
    if asked.topic and asked.topic not in TOPICS:
        raise Problem(400, f"topic: expected one of {', '.join(TOPICS)}, got {asked.topic[:100]!r}")
    scene.audit(who, "log.level", topic=asked.topic, level=asked.level)
    keeper.set_log_level(asked.topic, asked.level)
    return forms.LogLevels(keeper.log_levels())
