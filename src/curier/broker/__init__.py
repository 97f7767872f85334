"""Many sessions: who receives what, when, and what the broker asks of the world around it.

``core`` is the whole, seen from outside. ``connection`` is one client's end of it; ``connecting``,
``subscribing`` and ``delivery`` are what a client can do, ``upkeep`` what the broker does by itself.
``routing`` finds receivers, ``sessions`` keeps them, ``deadlines`` watches the clock it is given.
"""
