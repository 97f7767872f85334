"""A bus for the processes of ``curier broker --workers N``, on one machine and in memory.

``streams`` are what is kept, without sockets or a clock; ``engine`` serves them, in the process that sees
to the workers; ``bus`` carries out the orders of a node by asking it. They speak ``frames`` over a pair of
sockets for each worker, which have no name that others could connect to.

It keeps the promises that ``docs/cluster.md`` asks of a bus, and some more: each write has one answer,
nothing is late or old, and when a worker's process is gone its lease is over at once. It lasts as long as
the engine.
"""
