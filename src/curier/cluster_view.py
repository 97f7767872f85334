"""What one node knows of its cluster, for people: plain data, which needs no package."""

from __future__ import annotations

from typing import Literal, NamedTuple

NodeState = Literal["open", "not trusted", "draining", "over"]
"""Of the node that is asked. ``not trusted``: all that is about sessions waits until its lease is renewed."""

Standing = Literal["living", "silent", "over", "died"]
"""Of a life of any node. ``silent``: no renewal of its lease has come by for some time; ``over``: it has left
in order; ``died``: the others have ended its lease, and have its sessions.
"""


class Wrong(NamedTuple):
    """What is wrong, and what is to be done. ``is_error``: something is not done because of it."""

    is_error: bool
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}"


class NodeLife(NamedTuple):
    """The last life of a node that is known. ``heard`` is how many seconds ago its last renewal came by."""

    name: str
    number: int
    standing: Standing
    heard: float


class StreamView(NamedTuple):
    """A stream of the cluster, as its leader told lately.

    ``last`` is the sequence of its last entry, -1 where there was no answer; ``read`` that up to which this
    node has read it, -1 of what no node reads whole. ``leader`` is "" where it has none; ``behind`` are
    servers whose copy is not whole, or which are away. ``size`` is in bytes.
    """

    stream: str
    read: int
    last: int
    messages: int
    size: int
    leader: str
    replicas: int
    behind: tuple[str, ...]

    @property
    def lag(self) -> int:
        """Entries that are there and not read; 0 where that is not known."""
        return max(0, self.last - self.read) if self.read >= 0 else 0


class ClusterView(NamedTuple):
    """How things stand for ``node``, in its life ``number``.

    ``trusted_for`` are the seconds for which it may speak for its sessions if it hears nothing more.
    ``server`` of NATS is where it is connected, "" nowhere; ``version`` is that of NATS. ``claims`` are
    sessions that are on their way to it, ``leaving`` those on their way from it. What is said of streams is
    ``told_before`` seconds old. ``held`` says what the log can not be cut behind, "": nothing in particular.
    """

    cluster: str
    node: str
    number: int
    state: NodeState
    trusted_for: float
    sync: str
    server: str
    version: str
    sessions: int
    leaving: int
    claims: int
    wrong: tuple[Wrong, ...]
    nodes: tuple[NodeLife, ...]
    streams: tuple[StreamView, ...]
    told_before: float
    held: str = ""

    @property
    def is_trusted(self) -> bool:
        """May it speak for its sessions?"""
        return self.trusted_for > 0

    @property
    def living(self) -> int:
        """Nodes that live."""
        return sum(one.standing in ("living", "silent") for one in self.nodes)

    @property
    def lag(self) -> int:
        """Entries of the log that this node has not read."""
        return sum(one.lag for one in self.streams)

    @property
    def log(self) -> int:
        """Entries of the log that are left."""
        return sum(one.messages for one in self.streams if one.read >= 0)

    @property
    def why_not_healthy(self) -> str:
        """Why clients had better go to another node; "": they need not."""
        if self.state == "draining":
            return "this node gives its sessions up, and leaves the cluster"
        if self.state == "open" and self.is_trusted:
            return ""
        worst = next((str(one) for one in self.wrong if one.is_error), "its lease has run out")
        return f"this node has no part in the cluster now: {worst}"
