"""The client library: async (``client.connect``), or blocking (``sync.connect_sync``)."""
