"""Operations on the cluster that a broker is one node of."""

from __future__ import annotations

import asyncio
from typing import Final

from curier.draining import drain
from curier.web import cluster_forms, forms, table
from curier.web.cluster_forms import Cluster, ClusterNode, ClusterStream, ClusterWrong
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known

NONE: Final = "none"


@handles(table.CLUSTER)
async def cluster(scene: Scene, asked: forms.Nothing, who: Known) -> Cluster:
    """The cluster, as this node knows it."""
    view = scene.broker.cluster_view
    if view is None:
        return Cluster(NONE)
    return Cluster(
        state=view.state,
        cluster=view.cluster,
        node=view.node,
        life=view.number,
        trusted_for=view.trusted_for,
        sync=view.sync,
        server=view.server,
        version=view.version,
        sessions=view.sessions,
        leaving=view.leaving,
        claims=view.claims,
        lag=view.lag,
        told_before=view.told_before,
        log=view.log,
        held=view.held,
        wrong=[ClusterWrong(one.is_error, one.what, one.advice) for one in view.wrong],
        nodes=[
            ClusterNode(one.name, one.number, one.standing, one.heard, one.name == view.node)
            for one in view.nodes
        ],
        streams=[
            ClusterStream(
                stream=one.stream,
                read=one.read,
                last=one.last,
                lag=one.lag if one.last >= 0 and one.read >= 0 else -1,
                messages=one.messages,
                bytes=one.size,
                leader=one.leader,
                replicas=one.replicas,
                behind=list(one.behind),
            )
            for one in view.streams
        ],
    )


@handles(table.DRAIN)
async def empty(scene: Scene, asked: cluster_forms.Drain, who: Known) -> forms.Done:
    """Have the node give its sessions up, and leave."""
    view = scene.broker.cluster_view
    if view is None:
        raise Problem(409, "this broker is alone: there is no other node to give sessions to")
    if view.sync == "memory":
        raise Problem(
            409,
            f"{view.node} is one of the workers of a machine, and would be started again: to end all of "
            "them, stop the process that started them",
        )
    if view.state in ("draining", "over"):
        raise Problem(409, f"node {view.node} leaves already")
    others = [one.name for one in view.nodes if one.name != view.node and one.standing == "living"]
    if not others:
        raise Problem(
            409,
            "no other node lives that would take the sessions of this one; to end it all the same, stop it",
        )
    if asked.permanent and not asked.server_reference:
        raise Problem(400, "permanent: clients have to be told where they are to go, by server_reference")
    scene.audit(who, "cluster.drain", server_reference=asked.server_reference)
    reason = drain(scene.broker, asked.server_reference, asked.permanent, asked.per_second)
    scene.draining = asyncio.get_running_loop().create_task(reason)
    return forms.Done(
        f"node {view.node} gives {view.sessions} sessions up to {', '.join(others)}, and ends then"
    )
