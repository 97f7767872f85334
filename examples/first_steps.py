"""Subscribe, publish, and see the message come back: MQTT in forty lines, with paho-mqtt.

pip install paho-mqtt
curier broker                    # in another terminal
python examples/first_steps.py   # --host and --port name another broker
"""

import argparse
import queue
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    """Say hello and hear it."""
    parser = argparse.ArgumentParser(description="Publish a message and receive it.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    where = parser.parse_args()
    heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()

    def on_connect(client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        print(f"connected: {reason}")
        client.subscribe("greetings/#", qos=1)

    def on_subscribe(client: mqtt.Client, _data: Any, _id: int, _reasons: Any, _properties: Any) -> None:
        print("subscribed to greetings/#")
        client.publish("greetings/world", "hello", qos=1)

    def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        heard.put(message)

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect(where.host, where.port)
    client.loop_start()  # a thread that talks to the broker, and calls the functions above
    message = heard.get(timeout=10)
    print(f"{message.topic}: {message.payload.decode()}")
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
