"""The window: pages, an API and metrics of a running broker, by HTTP. Imported only when it is asked for.

    async with curier.Broker() as broker, curier.web.server.Web(broker) as web:
        print(web.urls)

It runs in the broker's event loop, and needs the packages of ``curier[web]``.
"""
