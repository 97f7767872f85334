"""``curier rr`` with a broker and somebody who answers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from curier.client.client import connect
from tests.cli.conftest import BrokerThread, Curier

QUICK = ("-W", "100")


@pytest.fixture
def service(broker: BrokerThread) -> Iterator[str]:
    """A topic where requests are answered with what they said, twice."""
    topic = f"test/{uuid.uuid4().hex}"

    async def start() -> asyncio.Task[None]:
        ready = asyncio.Event()

        async def serve() -> None:
            async with (
                connect(f"mqtt://127.0.0.1:{broker.port}") as client,
                client.serve(f"{topic}/+") as requests,
            ):
                ready.set()
                async for request in requests:
                    if request.message.topic.endswith("/echo"):
                        await request.reply(request.message.payload * 2)

        task = asyncio.ensure_future(serve())
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        return task

    async def stop(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = broker.run(start())
    yield topic
    broker.run(stop(task))


def test_a_request_and_its_response(curier: Curier, service: str) -> None:
    result = curier("rr", "-t", f"{service}/echo", "-m", "hä", *QUICK)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hähä\n", "")


def test_a_response_is_printed_as_messages_are(curier: Curier, service: str) -> None:
    result = curier("rr", "-t", f"{service}/echo", "-m", "[1]", "--encode", "cbor", "--decode", "hex", *QUICK)
    assert result.stdout == "81018101\n"
    result = curier("rr", "-t", f"{service}/echo", "-n", "-e", f"{service}-re", "-v", *QUICK)
    assert result.stdout == f"{service}-re (null)\n"


def test_a_response_that_cannot_be_read_is_told(curier: Curier, service: str) -> None:
    result = curier("rr", "-t", f"{service}/echo", "-m", "[1]", "--decode", "json", *QUICK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not JSON" in result.stderr


def test_a_response_has_to_repeat_what_it_should(curier: Curier, service: str) -> None:
    words = ("-t", f"{service}/echo", "-e", f"{service}-re", "-m", "a", "-q", 1)
    curier("pub", "-t", f"{service}-re", "-m", "stale", "-r")
    result = curier("rr", *words, "--correlation-data", "7", *QUICK)
    assert result.stdout == "aa\n"
    assert curier("rr", *words, "-R", *QUICK).stdout == "aa\n"
    assert curier("rr", *words, *QUICK).stdout == "stale\n"  # as mosquitto_rr has it


def test_before_5_the_response_has_a_topic_that_both_know(curier: Curier, service: str) -> None:
    words = ("-V", "311", "-t", f"{service}-x", "-m", "on")
    result = curier("rr", *words, "-e", f"{service}-x", *QUICK)  # it hears its own request
    assert (result.exit_code, result.stdout) == (0, "on\n")
    result = curier("rr", *words, *QUICK)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "before 5.0 a response needs a topic: -e TOPIC" in result.stderr


@pytest.mark.parametrize("how", [[], ["-e", "nothing/comes/here"]])
def test_a_response_that_does_not_come_is_told(curier: Curier, service: str, how: list[str]) -> None:
    result = curier("rr", "-t", f"{service}/silent", "-m", "x", "-W", "0.3", *how)
    assert (result.exit_code, result.stdout, result.stderr) == (27, "", "Timed out\n")


def test_that_nobody_is_there_is_told(curier: Curier) -> None:
    result = curier("rr", "-t", f"test/{uuid.uuid4().hex}", "-m", "x", "-q", 1, *QUICK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No matching subscribers" in result.stderr
