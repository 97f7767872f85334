"""The steps of ``curier.client.dial``: a TCP connection, a proxy's tunnel, TLS.

Each step takes an asyncio transport and leaves one; between them ``talk.Talk`` is its protocol. WebSocket,
the last step, is in ``curier.net.websocket``.
"""
