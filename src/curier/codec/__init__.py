"""Bytes to Control Packets and back (chapters 2 and 3 of both specifications); knows no state and no role.

``decode`` and ``encode`` are the readable pair, over ``packets``, ``properties`` and ``primitives``;
``publish`` is the flat form of the one packet that has to be fast; ``constants`` and ``reasons`` are tables.
"""
