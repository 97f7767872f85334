"""A question and its answer: who asks does not know who answers, nor who else does.

    curier broker                                  # in one terminal
    python examples/request_reply.py serve         # in another; more of them share the work
    python examples/request_reply.py ask 3 4 5     # says 12

Requests need MQTT 5.0. The service is an asyncio program, who asks is a blocking one: it could be a script.
"""

import argparse
import asyncio
import sys
from contextlib import suppress

import curier

TOPIC = "service/sum"


async def serve(url: str) -> None:
    """Answer until cancelled. The members of the shared subscription take turns."""
    async with curier.connect(url) as client, client.serve(f"$share/adders/{TOPIC}") as requests:
        print(f"serving {TOPIC}", flush=True)
        async for request in requests:
            await request.reply(answer(request.payload))


def answer(question: bytes) -> str:
    """The sum of the numbers; anybody may ask, so anything may be asked."""
    try:
        return f"{sum(map(float, question.split())):g}"
    except ValueError:
        return "numbers, please"


def ask(url: str, numbers: list[str]) -> None:
    """Ask once."""
    with curier.connect_sync(url) as client:
        reply = client.request(TOPIC, " ".join(numbers), timeout=5)
        print(reply.payload.decode())


def main() -> None:
    """Serve or ask."""
    parser = argparse.ArgumentParser(description="Add numbers, somewhere.")
    parser.add_argument("--url", default="mqtt://127.0.0.1", help="where the broker is")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer requests; Ctrl-C ends it")
    commands.add_parser("ask", help="send a request").add_argument("numbers", nargs="+")
    options = parser.parse_args()
    try:
        with suppress(KeyboardInterrupt):
            if options.command == "serve":
                asyncio.run(serve(options.url))
            else:
                ask(options.url, options.numbers)
    except TimeoutError:
        sys.exit("no answer within 5 seconds")
    except curier.MqttError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
