"""A web program with MQTT in it: FastAPI serves pages by HTTP, and MQTT over WebSocket at /mqtt.

    pip install curier fastapi uvicorn
    python examples/web_program.py
    curier sub -L ws://127.0.0.1:8000/mqtt/orders/%23 -v    # and, in another terminal:
    curl -X POST http://127.0.0.1:8000/orders/7 -d 'a cake'

Devices connect to the broker at port 1883, pages by the WebSocket; the program itself is a client of it.
"""

from __future__ import annotations

import argparse

import uvicorn
from fastapi import FastAPI, Request

import curier
import curier.asgi


def application(mqtt_port: int) -> FastAPI:
    """The program, with its broker listening for devices on this port of this machine."""
    broker = curier.Broker(f"tcp://127.0.0.1:{mqtt_port}")
    mqtt = curier.asgi.client(f"mqtt://127.0.0.1:{mqtt_port}", client_id="shop", broker=broker)

    app = FastAPI(lifespan=mqtt)
    app.mount("/mqtt", broker.asgi())
    app.mount("/health", mqtt.health)

    @app.post("/orders/{number}")
    async def order(number: int, request: Request) -> dict[str, str]:
        await mqtt.client.publish(f"orders/{number}", await request.body(), qos=1)
        return {"order": "taken"}

    return app


def main() -> None:
    """Serve until Ctrl-C."""
    options = argparse.ArgumentParser(description="A web program with MQTT in it.")
    options.add_argument("--port", type=int, default=8000, help="of HTTP")
    options.add_argument("--mqtt-port", type=int, default=1883)
    chosen = options.parse_args()
    uvicorn.run(application(chosen.mqtt_port), port=chosen.port, ws="websockets-sansio")


if __name__ == "__main__":
    main()
