"""What holds with every server, whoever has written it."""

from __future__ import annotations

import curier
from tests.waiting import PATIENCE

DO_NOT_SEND = curier.RetainHandling.DO_NOT_SEND  # some servers send them to a shared subscription, unasked


async def overlapping_streams_each_get_a_message_once(url: str) -> None:
    async with (
        curier.connect(url) as client,
        client.subscribe("job/+", qos=2) as one,
    ):
        await client.publish("job/0", "kept", qos=1, retain=True)
        async with (
            client.subscribe("job/#", qos=2) as two,
            client.subscribe("job/+", qos=1) as three,
            client.subscribe("$share/a/job/#", qos=1, retain_handling=DO_NOT_SEND) as four,
            client.subscribe("$share/b/job/#", "else", qos=1, retain_handling=DO_NOT_SEND) as five,
        ):
            for number in range(1, 50):
                await client.publish(f"job/{number}", str(number), qos=number % 3)
            await client.publish("job/1/end", "end", qos=2)
            live = [str(number).encode() for number in range(1, 50)]
            expected = {
                one: [b"kept", *live],
                two: [b"kept", *live, b"end"],
                three: [b"kept", *live],
                four: [*live, b"end"],
                five: [*live, b"end"],
            }
            for stream, payloads in expected.items():
                messages = [await stream.get(timeout=PATIENCE) for _ in payloads]
                # A server may send different QoS in an order of its own, and what is retained when it likes.
                assert sorted(message.payload for message in messages) == sorted(payloads)
                assert all(message.subscription_identifiers == () for message in messages)
            await client.publish("job/last", "", qos=2)
            for stream in expected:
                assert (await stream.get(timeout=PATIENCE)).topic == "job/last"
        await client.publish("job/50", "alone", qos=2)
        assert (await one.get(timeout=PATIENCE)).payload == b"alone"
        await client.publish("job/51", "alone", qos=2)
        assert (await one.get(timeout=PATIENCE)).topic == "job/51"
