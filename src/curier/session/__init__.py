"""Session State: what outlives a Network Connection (5.0 section 4.1).

``message`` is what travels, ``outgoing`` and ``incoming`` are the two directions of QoS 1 and 2,
``session`` holds both for one Client Identifier, ``journal`` is how changes reach a disk.
"""
