"""NATS JetStream as the bus of a cluster: what ``curier.cluster`` orders, done by three servers.

Needs the extra ``cluster`` (nats-py, msgspec). ``wire`` is what lies on the bus as bytes, ``names`` where,
``streams`` makes and checks that, ``proof`` asks the servers whether what they say is stored is stored,
``line`` is a connection that comes back, ``consumer`` a stream as it comes by, ``bus`` all of it.
"""
