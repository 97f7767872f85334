"""One Network Connection: what dies with it (5.0 sections 3 and 4).

``connection`` is common to both roles: chunks in, Control Packets, QoS handshakes, output held until a
batch is durable. ``server`` is the server's role, ``client`` the client's. Neither knows other connections.
"""
