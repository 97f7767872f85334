"""What happens to a client, for the log ``curier.client``: its life at INFO, what is lost at WARNING."""

from __future__ import annotations

import logging

from curier.client.events import (
    Closed,
    Connected,
    Event,
    Reconnecting,
    SessionLost,
    StorageTrouble,
    SubscriptionLost,
)
from curier.errors import ConnectionLost
from curier.types import VERSION_NAMES, reason_name

log = logging.getLogger("curier.client")


def log_event(client_id: str, event: Event) -> None:
    """One line for ``event``, but for those whose lines are written where it happens."""
    level = logging.WARNING if isinstance(event, (SubscriptionLost, StorageTrouble)) else logging.INFO
    if not log.isEnabledFor(level):
        return
    said = ""
    if isinstance(event, Connected):
        kept = ", session present" if event.session_present else ""
        said = f"connected to {event.url}, MQTT {VERSION_NAMES[event.version]}{kept}"
    elif isinstance(event, ConnectionLost):
        said = f"lost: {event}"
    elif isinstance(event, Reconnecting):
        said = f"reconnecting in {event.delay:.1f} s (attempt {event.attempt}): {event.error}"
    elif isinstance(event, SessionLost):
        said = f"the server has forgotten the session; {event.republished} messages may arrive twice"
    elif isinstance(event, SubscriptionLost):
        why = f": {event.reason_string}" if event.reason_string else ""
        said = (
            f"the subscription to {event.topic_filter} is refused now: {reason_name(event.reason_code)}{why}"
        )
    elif isinstance(event, StorageTrouble):
        said = f"the session's disk takes nothing: {event.why}"
    elif isinstance(event, Closed):
        said = f"ended: {event.error}" if event.error is not None else "closed"
    if said:
        log.log(level, "%s: %s", client_id or "(no client_id)", said)
