"""What is answered about a cluster, and what is asked of a node of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curier.cluster_view import NodeState, Standing
from curier.web.forms import Form


class ClusterNode(Struct):
    """The last life of a node that is known here; ``heard`` is how many seconds ago its lease was renewed.
    ``self`` is the one that is asked.
    """

    name: str
    life: int
    standing: Standing
    heard: float
    self: bool


class ClusterStream(Struct):
    """A stream of the cluster at NATS. ``last`` is the sequence of its last entry, ``read`` that up to which
    this node has read it, ``lag`` what is between; -1 where that is not known, or no node reads it whole.
    ``behind`` are servers whose copy is not whole, or which are away.
    """

    stream: str
    read: int
    last: int
    lag: int
    messages: int
    bytes: int
    leader: str
    """The server that leads it; "": none does."""
    replicas: int
    behind: list[str]


class ClusterWrong(Struct):
    """What is wrong, and what is to be done. ``error``: something is not done because of it."""

    error: bool
    text: str
    advice: str


class Cluster(Struct):
    """The cluster, as this node knows it. Without one ``state`` is "none", and all else is empty."""

    state: NodeState | str
    cluster: str = ""
    node: str = ""
    life: int = 0
    """Which life of this node it is; each start is one more."""
    trusted_for: float = 0.0
    """Seconds for which it may speak for its sessions if it hears nothing more."""
    sync: str = ""
    """``always``: NATS acknowledges what is on its disks; ``relaxed``: a loss of power may take some back;
    ``memory``: these are workers of one machine, without NATS: all is lost when who started them ends.
    """
    server: str = ""
    """The server of NATS where it is connected; "": nowhere."""
    version: str = ""
    """Of NATS."""
    sessions: int = 0
    """Those that it owns."""
    leaving: int = 0
    """Those of them that are on their way to other nodes."""
    claims: int = 0
    """Sessions that are on their way to it."""
    lag: int = 0
    """Entries of the log that it has not read."""
    told_before: float = 0.0
    """How many seconds old is what is said of streams."""
    log: int = 0
    """Entries of the log that are left: what nobody needs is cut off now and then."""
    held: str = ""
    """What the log cannot be cut behind, a session mostly, and at which node; "": nothing in particular."""
    wrong: list[ClusterWrong] = []
    nodes: list[ClusterNode] = []
    streams: list[ClusterStream] = []


class Drain(Form):
    """How a node is emptied: ``per_second`` sessions are given up each second. 5.0 clients are told to
    go to ``server_reference``, where it is not "": for now (0x9C), or for good (0x9D) where it is
    ``permanent``.
    """

    server_reference: Annotated[str, Meta(max_length=1000)] = ""
    permanent: bool = False
    per_second: Annotated[int, Meta(ge=1, le=100_000)] = 500
