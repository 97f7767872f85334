"""Whose a Client Identifier is: which of them a user may have, and whose session there is (3.1.3.1, 4.1).

With the Client Identifier of another one would get what waits for that one, and end its connection
[MQTT-3.1.4-3]. So where there are users a session belongs to the user who began it, for as long as it lasts;
and a pattern may say which Client Identifiers are whose. Nobody in particular owns the session of a client
without a user, and one that was stored when there were no users: the next user who comes does.
"""

from __future__ import annotations

from curier.broker.model import BrokerConnection, ServerSession
from curier.broker.state import BrokerState
from curier.codec.constants import CLIENT_IDENTIFIER_NOT_VALID, NOT_AUTHORIZED

USER_NAME = "{username}"


def why_not(
    broker: BrokerState, connection: BrokerConnection, client_id: str, session: ServerSession | None
) -> tuple[int, str, str]:
    """Reason Code, plain words for the client and for the log where a client may not have this Client
    Identifier, whose session that is, if there is one; or (0, "", "").
    """
    options = broker.options
    user = connection.identity or ""
    who = f"user {user}" if user else "a client without a user"
    if options.client_ids and not connection.assigned_client_id:
        if not any_fits(options.client_ids, client_id, user):
            why = "this Client Identifier is not for this user"
            return (
                CLIENT_IDENTIFIER_NOT_VALID,
                why,
                f"{who} may not have it: client_ids = {options.client_ids}",
            )
    if session is None:
        return 0, "", ""
    return why_not_whose(broker, connection, session.user)


def why_not_whose(broker: BrokerState, connection: BrokerConnection, owner: str) -> tuple[int, str, str]:
    """The same where the session, which may be elsewhere yet, belongs to the user ``owner``, "": nobody's."""
    user = connection.identity or ""
    if not owner or owner == user or not (broker.asks_authentication and broker.options.session_owners):
        return 0, "", ""
    who = f"user {user}" if user else "a client without a user"
    why = "the session of this Client Identifier is another user's"
    return NOT_AUTHORIZED, why, f"its session belongs to user {owner}, and {who} wants it"


def new(broker: BrokerState) -> str:
    """A Client Identifier that no session has [MQTT-3.2.2-16]."""
    while True:
        broker.last_client += 1
        client_id = f"{broker.id_prefix}{broker.last_client}"
        if client_id not in broker.sessions:
            return client_id


def own(broker: BrokerState, session: ServerSession, connection: BrokerConnection) -> None:
    """The session is from now on that of whoever has come."""
    if broker.asks_authentication:
        session.user = connection.identity or ""


def any_fits(patterns: str, client_id: str, user: str) -> bool:
    """Is this Client Identifier as one of the patterns, between which are blanks, has it for this user?"""
    for pattern in patterns.split():
        if fits(pattern, client_id, user):
            return True
    return False


def fits(pattern: str, client_id: str, user: str) -> bool:
    """``*`` in a pattern stands for any text, also none; ``{username}`` for the user, letter by letter, and
    there has to be one.
    """
    if USER_NAME in pattern and not user:
        return False
    parts = [part.replace(USER_NAME, user) for part in pattern.split("*")]
    if len(parts) == 1:
        return client_id == parts[0]
    first = parts[0]
    last = parts[-1]
    end = len(client_id) - len(last)
    at = len(first)
    if at > end or not client_id.startswith(first) or not client_id.endswith(last):
        return False
    for part in parts[1:-1]:
        found = client_id.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
