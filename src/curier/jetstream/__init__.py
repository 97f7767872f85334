"""NATS JetStream as the bus of a cluster: what ``curier.cluster`` orders, done by three servers.

Needs the extra ``cluster`` (nats-py, msgspec). ``wire`` is what lies on the bus as bytes, ``names`` where,
``streams`` makes and checks that, ``proof`` asks the servers whether what they say is stored is stored,
``line`` is a connection that comes back, ``consumer`` a stream as it comes by, ``owners`` are those of
sessions, ``parts`` are of records that are too large for one message, ``bus`` is all of it.

Whoever drives a ``Node`` is the ``Hearer`` of a ``Bus``, all in one event loop::

    bus = Bus(Access(urls), Names(cluster, partitions), node_name, hearer)
    bus.open()  # connects, and goes on trying for ever
    servers = await ensure(bus.data, bus.names, replicas, seconds)  # ClusterError says what to do
    await prove(monitors or monitors_of(urls), servers)  # unless relaxed was asked for
    node.begin(...)
    for order in node.take_orders():  # but ``Died``, which is the driver's own
        bus.obey(order)
    ...
    await bus.close()

``hearer`` gets each answer in a later turn than the order; ``asked`` names the life that is meant, and has to
be dropped by any other. ``broken`` means that another version writes here: this node has to end. ``bus.most``
is what a frame may have, so no packet of a client may be larger. ``bus.unhappy``, ``bus.data.why`` and
``bus.control.why`` say in words what is wrong, or nothing.
"""
