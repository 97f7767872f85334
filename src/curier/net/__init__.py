"""Sockets for the core: listeners, wires, and the turn that ties them to the event loop.

``wire`` is one client's socket seen from the core; ``reactor`` serves plain TCP with one epoll set inside
the asyncio loop, ``transports`` serves it with asyncio's own transports everywhere else.
"""
