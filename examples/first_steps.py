"""Subscribe, publish, and see the message come back: MQTT in twenty lines.

curier broker                    # in another terminal
python examples/first_steps.py   # --url names another broker
"""

import argparse

import curier


def main() -> None:
    """Say hello and hear it."""
    parser = argparse.ArgumentParser(description="Publish a message and receive it.")
    parser.add_argument("--url", default="mqtt://127.0.0.1")
    url = parser.parse_args().url
    with curier.connect_sync(url) as client:
        print("connected")
        with client.subscribe("greetings/#", qos=1) as greetings:
            print("subscribed to greetings/#")
            client.publish("greetings/world", "hello", qos=1)
            message = greetings.get(timeout=10)
            print(f"{message.topic}: {message.payload.decode()}")


if __name__ == "__main__":
    main()
