"""Operations on rules, and who asks."""

from __future__ import annotations

from curier.broker.judging import Who
from curier.permissions.tree import RECEIVE, SUBSCRIBE
from curier.topics.filters import check_topic_filter, check_topic_name
from curier.web import forms, table
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known

MOST_LEVELS = 65_536
ACTIONS = ("publish", "subscribe", "receive")


@handles(table.ACL_TEST)
async def test(scene: Scene, asked: forms.AclTest, who: Known) -> forms.AclAnswer:
    """Ask the rules."""
    if asked.action not in ACTIONS:
        raise Problem(400, f"action: expected one of {', '.join(ACTIONS)}, got {asked.action[:100]!r}")
    topic = asked.topic.encode()
    check = check_topic_filter if asked.action == "subscribe" else check_topic_name
    why = check(topic, MOST_LEVELS)
    if why:
        raise Problem(400, f"topic: {why}")
    rules = scene.broker.permissions
    if rules is None:
        return forms.AclAnswer(True, "there are no rules: every client may do everything (acl_file)")
    address = asked.address
    person = Who(
        asked.user,
        asked.client_id,
        asked.certificate_name,
        frozenset(asked.groups),
        asked.claims,
        asked.listener,
        f"[{address}]:0" if ":" in address else f"{address}:0",  # as the broker has it, with a port
    )
    rights = rules.rules.rights(person)
    if asked.action == "publish":
        decision = rights.publishing(topic, asked.qos, asked.retain)
    else:
        kind = SUBSCRIBE if asked.action == "subscribe" else RECEIVE
        decision = rights.decide(kind, topic, asked.qos)
    return forms.AclAnswer(decision.allows, decision.why)


@handles(table.SELF)
async def own(scene: Scene, asked: forms.Nothing, who: Known) -> forms.Self:
    """Who asks."""
    return forms.Self(who.name, who.role.name.lower())
