"""A cluster under load: nodes and servers of NATS are killed and stopped, and clients move among the nodes.

The play and the judge are those of ``curier verify``. Each client calls any node, at each connection another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from curier.client.urls import ServerUrl
from curier.codec import packets as p
from curier.verify.brokers import BrokerUnderTest, Unjudged, free_port, tail
from curier.verify.caller import TICK_SECONDS, Caller, Line
from curier.verify.ledger import DOUBLED, OUT_OF_ORDER, Fault, judge_wills
from curier.verify.peer import Peer
from curier.verify.play import Plan, Play
from tests.crash import cuts
from tests.crash.timed import Timed
from tests.jetstream.servers import NatsServers

SECONDS_A_ROUND: Final = 6.0
PATIENCE: Final = 150.0  # a lease of 30 s, an election, and a busy machine
QUIET_SECONDS: Final = 10.0
"""A client hangs up where it is owed an answer for so long, and calls another node."""

NO_SERVERS: Final = "NATS does not give this cluster its streams within"
WILLS_SECONDS: Final = 150.0
END_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 120.0
NATS_SECONDS: Final = 20.0  # what is done to its servers takes no longer
DRAINED_AGAIN: Final = 20  # times, once in a second, where a node does not know yet that another one lives
NAMES: Final = "abc"
KINDS: Final = (
    *("kill", "kill", "end", "stop 5", "stop 20", "stop 60", "roll", "drain roll"),
    *("nats", "all of nats", "nats stop", "nats roll"),
)
FULL: Final = ("full one 10", "full all 10")
PARTS: Final = ("part one 5", "part one 20", "part all 5")
"""The disk of one server, or of all, is full; a server is cut off from the others, or each from each."""

CUTS: Final = tuple([f"cut {how} {seconds}" for how in cuts.SIDES for seconds in (5, 20, 60)])
"""Of what a node says, of what it hears, of all; for so many seconds."""


class ClusterUnderTest(BrokerUnderTest):
    """Three nodes on three servers of NATS. Whoever asks where the broker is, is told of one of the nodes."""

    name = "three nodes of curier on three servers of NATS"

    def __init__(self, directory: Path, dice: Random, has_cuts: bool) -> None:
        self.directory = directory
        self.dice = dice
        if has_cuts:
            for at in range(3):
                cuts.small_disk(directory / f"js{at}")
        self.servers = NatsServers(directory, host="0.0.0.0" if has_cuts else "127.0.0.1")
        self.has_cuts = has_cuts
        self.urls = {name: ServerUrl("mqtt", "127.0.0.1", free_port()) for name in NAMES}
        self.windows = {name: f"http://127.0.0.1:{free_port()}" for name in NAMES}
        self.popens: dict[str, subprocess.Popen[bytes]] = {}
        self.began: dict[str, int] = {}  # where the log of a node's last life begins
        super().__init__(self.urls["a"])

    @property
    def url(self) -> ServerUrl:
        """Another each time."""
        return self.dice.choice([*self.urls.values()])

    @url.setter
    def url(self, url: ServerUrl) -> None:
        """As the base class has it."""

    def log(self, name: str) -> Path:
        return self.directory / f"node-{name}.log"

    async def start(self) -> None:
        for name in NAMES:
            self.start_node(name)

    def start_node(self, name: str) -> None:
        """If it does not run."""
        if name in self.popens and self.popens[name].poll() is None:
            return
        command = [sys.executable, "-m", "tests.crash.thrifty", "broker"]
        command += ["--listen", f"tcp://{self.urls[name].address}", "--web", self.windows[name]]
        address = cuts.address_of(NAMES.index(name)) if self.has_cuts else "127.0.0.1"
        command += [
            "--cluster",
            ",".join(self.servers.urls_at(address)),
            "--node-name",
            name,
            "--log-level",
            "info",
        ]
        command += ["--cluster-monitors", ",".join(self.servers.monitor_urls), "--cluster-partitions", "2"]
        with self.log(name).open("ab") as log:
            self.began[name] = log.tell()
            self.popens[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )

    def _environment(self) -> dict[str, str]:
        """Windows are found by files in our own directory."""
        return {**os.environ, "RUNTIME_DIRECTORY": str(self.directory / "windows")}

    async def drain(self, name: str) -> str:
        """``curier cluster drain``, and the node has ended; else why it would not."""
        command = [sys.executable, "-m", "curier", "cluster", "drain", "--url", self.windows[name]]
        popen = await asyncio.create_subprocess_exec(
            *(*command, "--per-second", str(self.dice.choice((20, 500)))),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment(),
        )
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                said, _ = await popen.communicate()
        except TimeoutError:
            popen.kill()
            await popen.wait()
            raise Unjudged(f"node {name} is not empty in {DRAIN_SECONDS:g} s{tail(self.log(name))}") from None
        if popen.returncode:
            return said.decode().strip()
        code = await self._end_of(name)
        if code:
            raise Unjudged(f"node {name} was emptied, and ended with code {code}{tail(self.log(name))}")
        return ""

    def is_in(self, name: str) -> bool:
        """Has its last life joined?"""
        said = self.log(name).read_text()
        return said.rfind("has joined") > self.began[name]

    def signal_node(self, name: str, number: int) -> None:
        self.popens[name].send_signal(number)

    async def end_node(self, name: str, number: int) -> None:
        self.popens[name].send_signal(number)
        code = await self._end_of(name)
        if number == signal.SIGTERM and code:
            raise Unjudged(f"node {name} ended with code {code}{tail(self.log(name))}")

    async def _end_of(self, name: str) -> int:
        popen = self.popens.pop(name)
        try:
            return await asyncio.to_thread(popen.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            raise Unjudged(f"node {name} does not end in {END_SECONDS:g} s{tail(self.log(name))}") from None

    async def kill(self) -> None:
        for name in [*self.popens]:
            await self.end_node(name, signal.SIGKILL)

    async def close(self) -> None:
        for popen in self.popens.values():
            popen.kill()
            popen.wait()
        self.servers.close()
        if self.has_cuts:
            for at in range(3):
                cuts.no_disk(self.servers.store(at))

    def check(self) -> None:
        """A node that finds no servers for a minute when it starts ends; it is started again."""
        for name, popen in [*self.popens.items()]:
            if popen.poll() == 1 and NO_SERVERS in tail(self.log(name)):
                self.start_node(name)
            elif popen.poll() is not None:
                raise Unjudged(f"node {name} ended by itself, with code {popen.poll()}{tail(self.log(name))}")


class TopicPeer(Peer):
    """Where a node dies, its heir sends again what was sent in the last second. In a cluster each topic has
    its order; of two topics nobody says which comes first.
    """

    def __init__(self, name: str, version: int, filters: list[tuple[str, int]], is_durable: bool) -> None:
        self.last_places: dict[str, int] = {}  # of each topic, on this connection
        self.came_at: dict[str, float] = {}  # when a message came first, by topic
        super().__init__(name, version, filters, is_durable, time.time)

    def receive(self, packet: p.Publish) -> None:
        self.came_at.setdefault(packet.topic, self.clock())
        super().receive(packet)

    def note_order(self, payload: bytes) -> None:
        sent = next((one.sent[payload] for one in self.sources if payload in one.sent), None)
        if sent is None or sent.is_repeated:
            return
        place = self.places.setdefault(payload, len(self.places))
        if place < self.last_places.get(sent.topic, -1):
            said = f"message {sent.number} on {sent.topic} came to {self.name} again, behind a later one"
            self.faults.append(Fault(OUT_OF_ORDER, said, sent.topic, sent.number, sent.acknowledged_at))
        self.last_places[sent.topic] = place

    def hang_up(self) -> None:
        super().hang_up()
        self.last_places.clear()


class Roamer(Caller):
    """It does not wait for ever for a node that says nothing."""

    async def _talk(self, line: Line) -> None:
        peer = self.peer
        heard, since = self._heard(), time.monotonic()
        while not line.ended.is_set() and self._is_wanted.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await line.ended.wait()
            line.tick()
            now = self._heard()
            is_owed = not peer.is_welcome or peer.unfinished or (peer.filters and not peer.is_subscribed)
            if now != heard or not is_owed:
                heard, since = now, time.monotonic()
            if time.monotonic() - since > QUIET_SECONDS:
                return
            if self.breaks_off and self.dice.randrange(500) == 0:
                return

    def _heard(self) -> tuple[int, ...]:
        peer = self.peer
        return (peer.promised, len(peer.got), len(peer.unfinished), peer.is_welcome, peer.is_subscribed)


class Roaming(Play):
    """A play whose clients call another node each time they connect. ``tell`` is called now and then."""

    def __init__(
        self, own: BrokerUnderTest, seed: int, rounds: int, tell: Callable[[Play], None] | None
    ) -> None:
        plan = Plan(
            rounds=rounds,
            seconds=rounds * SECONDS_A_ROUND,
            seed=seed,
            rate=300.0,
            patience=PATIENCE,
            prefix="crash",
        )
        self.nodes = own
        super().__init__(own, plan, tell)
        self.counts: Counter[str] = Counter()
        self.timed = Timed(plan.prefix, seed, self.call)
        self._later: set[asyncio.Task[None]] = set()
        self._rest_at = 0.0

    def logs(self) -> str:
        """What all nodes have said."""
        raise NotImplementedError

    def cast(self, versions: tuple[int, ...]) -> None:
        """Two groups more, whose members roam as well. In one sessions end with their connections: what those
        have not acknowledged goes to the others.
        """
        super().cast(versions)
        prefix = self.plan.prefix
        for name, qos, lasting in (("whole", 2, (True, True)), ("loose", 1, (True, False, False))):
            filters = [(f"$share/{name}/{prefix}/t/#", qos)]
            group = tuple([self.peer(f"{name}{at}", 5, filters, one) for at, one in enumerate(lasting)])
            self.groups.append(group)
            self.receivers += group

    def call(self, peer: Peer, once: bool = False) -> Caller:
        return Roamer(peer, self.nodes, self.callers_dice, once=once)

    def peer(self, name: str, version: int, filters: list[tuple[str, int]], is_durable: bool) -> Peer:
        made = TopicPeer(name, version, filters, is_durable)
        made.client_id = f"{self.plan.prefix}-{name}"
        return made

    def _all_call(self) -> None:
        super()._all_call()
        self.wills.peer.filters = [(f"{self.plan.prefix}/will/#", 2)]
        self.callers += self.timed.callers
        self.timed.callers[0].speak = self._say_brief
        self.timed.start()

    def _say_brief(self, peer: Peer) -> None:
        if self._speaks:
            self.timed.sender.speak()

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self.timed.close()

    async def _play_round(self, check: Callable[[], None]) -> None:
        async with self._running([self.timed.goer()]):
            await super()._play_round(check)

    def _visitor(self) -> Caller:
        visitor = super()._visitor()
        number = len(self.visits)
        visitor.peer.will = p.Will(f"{self.plan.prefix}/will/{number}", b"%d is gone" % number, 2)
        return visitor

    def _is_off(self, name: str) -> bool:
        return any(task.get_name() == name for task in self._later)

    def _in(self, seconds: float, do: Callable[[], None], name: str) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            do()

        task = asyncio.create_task(wait(), name=name)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _settle(self, check: Callable[[], None]) -> None:
        await self.timed.stop()
        if self._later:
            await asyncio.wait(self._later)
        end = time.monotonic() + WILLS_SECONDS
        while time.monotonic() < end and any(self._judge_wills()):
            check()  # heirs publish them, when they know that the node is dead
            await self._sleep(0.5)
        await super()._settle(check)
        await self._until(lambda: not self.timed.sender.unfinished, "acknowledgements", check)
        await self._come_to_rest(
            lambda: sum(len(peer.got) for peer in self.timed.receivers),
            lambda: not any(self.timed.judge_expiry(time.time())),
        )
        self._rest_at = time.time()

    async def _look_at_retained(self) -> dict[str, bytes]:
        found = await super()._look_at_retained()
        looker = self.call(self.timed.looker)
        async with self._running([looker]) as check:
            await self._until(lambda: looker.peer.is_subscribed, "SUBACK", check)
            await self._come_to_rest(lambda: len(looker.peer.got), lambda: True)
        return found

    # -- judging

    def _judge(self, retained: dict[str, bytes]) -> None:
        super()._judge(retained)
        self.faults += self._judge_doubled_wills()
        self.faults += self.timed.judge_wills(self._first_wills())
        self.faults += self.timed.judge_expiry(self._rest_at)

    def _first_wills(self) -> dict[str, float]:
        wills = self.wills.peer
        assert isinstance(wills, TopicPeer)
        return wills.came_at

    def _judge_wills(self) -> Iterator[Fault]:
        yield from judge_wills(self.visits, self.wills.peer.got)
        yield from self.timed.judge_wills(self._first_wills())

    def _judge_doubled_wills(self) -> Iterator[Fault]:
        counts = Counter(topic for topic, _ in self.wills.peer.got)
        for topic, count in counts.items():
            if count > 1:
                yield Fault(DOUBLED, f"the will on {topic} came {count} times", topic)

    async def play(self) -> None:
        """Play it; raises ``AssertionError`` for a promise that was not kept."""
        await self.run()
        logs = self.logs()
        faults = [*self.faults, *self.will_faults]
        assert not faults, "\n".join(fault.text for fault in faults[:10])
        assert not self.unjudged, self.unjudged
        assert "Traceback" not in logs, logs[logs.index("Traceback") - 300 :][:3000]

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"round {self.round}: {done}; {self.promised} acknowledged, {self.delivered} delivered"


class ClusterRounds(Roaming):
    """A cluster on NATS."""

    def __init__(
        self,
        seed: int,
        rounds: int,
        directory: Path,
        tell: Callable[[Play], None] | None = None,
        has_cuts: bool = False,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self.own = ClusterUnderTest(directory, Random(seed), has_cuts)
        self.kinds = kinds or KINDS + ((*CUTS, *FULL, *PARTS) if has_cuts else ())
        super().__init__(self.own, seed, rounds, tell)

    def logs(self) -> str:
        return "".join(self.own.log(name).read_text() for name in NAMES)

    async def disturb(self) -> None:
        kind = self.dice.choice(self.kinds)
        self.counts[kind] += 1
        self.kills.append(time.time())
        if not kind.startswith(("kill", "end", "roll", "drain")):
            last = kind.split()[-1]
            self.timed.has_outage(float(last) if last.isdigit() else NATS_SECONDS)
        if kind.startswith("cut"):
            number, (_, how, seconds) = self.dice.randrange(len(NAMES)), kind.split()
            if not self._is_off(f"cut {number}"):
                cuts.cut(number, how)
                self._in(float(seconds), lambda: cuts.mend(number, how), f"cut {number}")
        elif kind.startswith(("nats", "all of nats")):
            await self._to_servers(kind)
        elif kind.startswith(("full", "part")):
            self._for_a_while(kind)
        elif kind.endswith("roll"):
            await self._roll(kind.startswith("drain"))
        elif kind in ("kill", "end"):
            name = self.dice.choice(NAMES)
            number = signal.SIGKILL if kind == "kill" else signal.SIGTERM
            if name in self.own.popens and not self._is_off(name):
                await self.own.end_node(name, number)
            await asyncio.sleep(self.dice.choice((0.0, 2.0)))
            self.own.start_node(name)
        else:
            name = self.dice.choice(NAMES)
            if not self._is_off(name):
                self.own.signal_node(name, signal.SIGSTOP)
                self._in(float(kind.split()[1]), lambda: self.own.signal_node(name, signal.SIGCONT), name)

    async def _roll(self, drains: bool) -> None:
        for name in NAMES:
            if any(self._is_off(one) for one in NAMES if drains or one == name):
                continue  # a node that is stopped cannot leave, and takes no sessions
            if not drains:
                await self.own.end_node(name, signal.SIGTERM)
            elif why := await self._drain(name):  # something else is wrong just now; it goes on as it was
                self.notes.append(f"node {name} was not emptied: {why}")
                continue
            self.own.start_node(name)
            await self._until(partial(self.own.is_in, name), "node that has joined")

    async def _drain(self, name: str) -> str:
        """Until it has gone; else why it did not."""
        why = ""
        for _ in range(DRAINED_AGAIN):
            why = await self.own.drain(name)
            if not why:
                self.counts["drained"] += 1
                break
            await asyncio.sleep(1.0)
        return why

    def _has_room(self, at: int) -> None:
        """A server whose disk was full uses JetStream no more before it is started anew."""
        servers = self.own.servers
        cuts.free(servers.store(at))
        servers.end(at)
        servers.start(at)

    def _for_a_while(self, kind: str) -> None:
        what, who, seconds = kind.split()
        servers = self.own.servers
        for at in range(3) if who == "all" else (self.dice.randrange(3),):
            if self._is_off(f"{what} {at}"):
                continue
            if what == "full":
                cuts.fill(servers.store(at))
                again = partial(self._has_room, at)
            else:
                where = servers.caller(at), servers.routes[at]
                cuts.part(*where)
                again = partial(cuts.join, *where)
            self._in(float(seconds), again, f"{what} {at}")

    async def _to_servers(self, kind: str) -> None:
        servers = self.own.servers
        at = self.dice.randrange(3)
        if kind == "nats":
            servers.kill(at)
            await asyncio.sleep(self.dice.choice((0.0, 3.0)))
            servers.start(at)
        elif kind == "nats roll":
            for one in range(3):
                servers.end(one)
                servers.start(one)
                await asyncio.sleep(5.0)
        elif kind == "nats stop":
            servers.stop(at)
            await asyncio.sleep(5.0)
            servers.go_on(at)
        else:
            for one in range(3):
                servers.kill(one)
            await asyncio.sleep(1.0)
            for one in range(3):
                servers.start(one)
