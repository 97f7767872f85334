"""Many sessions: who receives what, when, and what the broker asks of the world around it.

``core`` is the whole, seen from outside, and ``connection`` one client's end of it. At the bottom, ``model``
and ``state`` say what there is; the files between say what is done with it: ``connecting``, ``subscribing``,
``publishing``, ``delivery`` and others. docs/architecture.md has them floor by floor.
"""
