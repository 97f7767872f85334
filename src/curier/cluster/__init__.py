"""Many brokers as one: the protocol between them, without a network (docs/cluster.md).

``records`` is what lies on the bus that all nodes share, ``orders`` what a node asks of the bus, ``house``
what it needs of its broker, ``ground`` what the parts of a node stand on. ``life`` keeps the node's lease and
sees those of the others end, ``writer`` writes to the log and seals what a dead node may have under way.
``claiming`` is how a session comes to this node, ``inheriting`` what there is to do then, ``owned`` a session
until it goes, ``keeper`` its record; ``committing`` has the batches of the journal stored, and ``node`` puts
them together. No clock, no socket, no disk: time is an argument, and what a node wants done it says.
"""
