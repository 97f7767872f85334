"""Rates come and go, and clients with them: nothing is lost, nothing overtakes, nobody waits for ever."""

from __future__ import annotations

import random

import pytest

from curier.broker.entrances import Entrance
from curier.broker.pacing import RATES
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.harness import Net, quiet
from tests.broker.test_changing_options import change
from tests.broker.test_rates import users
from tests.codec.cases import properties

CLIENTS = 3
MOST_UNFINISHED = 900


class Scene:
    """Some publishers and readers, of two users; what was sent and what came."""

    def __init__(self, seed: int, way: str) -> None:
        self.random = random.Random(seed)
        self.net = Net(way, quiet(), authenticate=users)
        self.front = Entrance("front")
        self.readers = [self.come(f"r{number}", number, 1000) for number in range(CLIENTS)]
        self.publishers = [self.come(f"p{number}", number) for number in range(CLIENTS)]
        for number, reader in enumerate(self.readers):
            reader.subscribe((f"t/{number}", 1))
        self.sent: list[list[bytes]] = [[] for _ in range(CLIENTS)]  # by reader
        self.got: list[list[bytes]] = [[] for _ in range(CLIENTS)]
        self.numbers = [0] * CLIENTS  # of messages, by publisher
        self.acknowledged = [0] * CLIENTS

    def come(self, client_id: str, number: int, expiry: int = 0) -> Client:
        self.net.entrance = self.random.choice([self.front, None])
        client = self.net.open()
        made = properties(session_expiry_interval=expiry)
        client.send(p.Connect(5, client_id, False, 0, f"user{number % 2}", None, None, made))
        client.pop(p.Connack)
        return client

    def publish(self) -> None:
        by = self.random.randrange(CLIENTS)
        if self.numbers[by] - self.acknowledged[by] > MOST_UNFINISHED:
            return
        packets = []
        for _ in range(self.random.randrange(1, 60)):
            to = self.random.randrange(CLIENTS)
            self.numbers[by] += 1
            payload = b"%d:%d:" % (by, self.numbers[by]) + b"x" * self.random.choice([0, 10, 300])
            self.sent[to].append(payload)
            packets.append(p.Publish(f"t/{to}", payload, 1, packet_id=self.numbers[by] % 60_000 + 1))
        self.publishers[by].send(*packets)

    def take(self) -> None:
        for number, reader in enumerate(self.readers):
            for message in reader.messages():
                self.got[number].append(message.payload)
                reader.send(p.Puback(message.packet_id))
        for number, publisher in enumerate(self.publishers):
            self.acknowledged[number] += len(publisher.take())

    def play(self) -> None:
        chance = self.random.random()
        if chance < 0.5:
            self.publish()
        elif chance < 0.65:
            change(self.net, **{self.random.choice(sorted(RATES)): self.random.choice([0, 3, 50, 1000])})
        elif chance < 0.75:
            self.front.max_message_rate = self.random.choice([0, 5, 100])
            self.front.max_byte_rate = self.random.choice([0, 500])
        elif chance < 0.85:
            number = self.random.randrange(CLIENTS)
            self.readers[number].drop()
            self.readers[number] = self.come(f"r{number}", number, 1000)
        else:
            self.net.advance(2 * self.random.random())
        self.take()

    def end(self) -> None:
        """No rate holds any more, for anybody."""
        self.front.max_message_rate = self.front.max_byte_rate = 0
        change(self.net, **dict.fromkeys(RATES, 1_000_000))
        change(self.net, **dict.fromkeys(RATES, 0))
        for _ in range(10):
            self.net.advance(1)
            self.take()


@pytest.mark.parametrize("seed", range(6))
def test_all_messages_come_in_their_order(seed: int) -> None:
    scene = Scene(seed, ("fast", "slow", "journal")[seed % 3])
    for _ in range(60):
        scene.play()
    scene.end()
    for client in (*scene.publishers, *scene.readers):
        assert not client.connection.paused
        assert not client.connection.is_congested
    assert scene.acknowledged == scene.numbers
    for sent, got in zip(scene.sent, scene.got, strict=True):
        once = list(dict.fromkeys(got))  # what was sent again after a lost connection counts once
        assert sorted(once) == sorted(sent)
        for number in range(CLIENTS):
            own = [int(payload.split(b":")[1]) for payload in once if payload.startswith(b"%d:" % number)]
            assert own == sorted(own)
    for allowance in scene.net.core.holdings.allowances.values():
        assert (allowance.members, allowance.waiting) == (0, 0)
    scene.net.advance(1e6)
    assert scene.net.core.holdings.allowances == {}
