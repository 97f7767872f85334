"""How a node of any cluster is put in words, for people: plain data, made of what the node knows."""

from __future__ import annotations

from typing import Final

from curier.cluster.life import LASTS, RENEWED
from curier.cluster.node import Node
from curier.cluster.records import Lease
from curier.cluster_view import ClusterView, NodeLife, NodeState, Standing, Wrong

SILENT: Final = 2.5 * RENEWED
"""Seconds without a renewal from which a node is called silent."""


def nodes_of(node: Node, now: float) -> tuple[NodeLife, ...]:
    """All nodes that this one knows, and itself."""
    return tuple(
        [
            NodeLife(lease.boot.name, lease.boot.number, _standing(lease, heard), heard)
            for lease, heard in node.leases(now)
        ]
    )


def state_of(node: Node, trusted_for: float, is_over: bool) -> NodeState:
    """What it does, in a word."""
    if is_over:
        return "over"
    if node.is_draining:
        return "draining"
    return "open" if node.is_open and trusted_for else "not trusted"


def held(node: Node, now: float) -> str:
    """What the log cannot be cut behind, or ""."""
    living = [(lease, heard) for lease, heard in node.leases(now) if not lease.is_over]
    for lease, heard in living:
        if heard > SILENT:  # no renewal of it says what it needs
            return f"node {lease.boot.name}: it is silent"
    holding = [lease for lease, _ in living if lease.holder]
    low = min(holding, key=lambda lease: sum(lease.floors), default=None)
    return f"node {low.boot.name}: {low.holder}" if low is not None else ""


def silent(one: NodeLife, whose: str) -> Wrong:
    """What is wrong with a node that is not heard of; ``whose`` it is, and what it has to reach, in words."""
    return Wrong(
        False,
        f"node {one.name} has not renewed its lease for {one.heard:.0f} s",
        f"others take its sessions after {LASTS:.0f} s; see whether it runs{whose}",
    )


def system_values(view: ClusterView) -> dict[str, str]:
    """Values below ``$SYS/broker/``."""
    return {
        "cluster/name": view.cluster,
        "cluster/node": view.node,
        "cluster/trusted": str(int(view.is_trusted)),
        "cluster/nodes": str(view.living),
        "cluster/sessions": str(view.sessions),
        "cluster/lag": str(view.lag),
    }


def _standing(lease: Lease, heard: float) -> Standing:
    if lease.is_over:
        return "over" if lease.nonce else "died"  # others do not know that number of it
    return "silent" if heard > SILENT else "living"
