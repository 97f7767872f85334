"""Many brokers as one: the protocol between them, without a network (docs/cluster.md).

``records`` is what lies on the bus that all nodes share, ``orders`` what a node asks of the bus and tells its
clients, ``ground`` what the parts of a node stand on. ``life`` keeps the node's lease and sees those of the
others end, ``writer`` writes to the log and seals what a dead node may still have under way, ``session`` is a
session that this node owns, ``claim`` how it comes to own it, and ``node`` puts them together. No clock, no
socket, no disk: time is an argument, and what a node wants done it says.
"""
