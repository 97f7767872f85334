"""Runs with messages: connect, subscribe, publish, wait for what is under way, count what went wrong."""

from __future__ import annotations

import heapq
from typing import Final

from curier.errors import ConnectionLost
from curier.loadgen.connection import Connection
from curier.loadgen.histogram import Histogram
from curier.loadgen.ledger import Ledger
from curier.loadgen.opening import Opener, Target, resolve
from curier.loadgen.payload import clock
from curier.loadgen.plan import Plan
from curier.loadgen.publisher import Publisher
from curier.loadgen.result import Checks, Result
from curier.loadgen.subscriber import Subscriber
from curier.loadgen.work import Watch, Work, allow_files

CONCURRENCY: Final = 100
"""Clients that connect at the same time."""

TURN_SECONDS: Final = 0.05
"""The longest time without a look at the clock and at ``stop``."""


class Traffic(Work):
    """A run of any scenario but ``connect``.

    The stages are as in ``run``. While publishing, ``touched`` has the publishers that may be able to send:
    those that were acknowledged, or whose messages arrived, since they were last looked at.
    """

    def __init__(self, plan: Plan, watch: Watch | None = None) -> None:
        super().__init__(plan, watch)
        self.touched: set[Publisher] = set()
        self.publishers = [
            Publisher(plan, self.loop, stream, self.touched) for stream in range(plan.publisher_count)
        ]
        self.subscribers = [
            Subscriber(plan, self.loop, number, self.touched) for number in range(plan.subscriber_count)
        ]
        self.clients: list[Connection] = [*self.subscribers, *self.publishers]
        self.ledgers: list[tuple[Publisher, Ledger]] = []
        self._expect()
        self._due: list[tuple[int, int]] = []  # with a rate: when, and which publisher
        self._interval = 0  # with a rate: nanoseconds between two messages of a publisher
        self._since = 0  # when the measured span began
        self._marked = (0, 0, 0)  # finished, acknowledged, delivered before that
        self._pinged = clock()
        self._ping_interval = 0  # nanoseconds; 0: never

    def _expect(self) -> None:
        """Share out what is to be sent, and tell the subscribers what they will get."""
        plan, count = self.plan, len(self.publishers)
        for publisher in self.publishers:
            if plan.messages is not None:
                publisher.quota = plan.messages // count + (publisher.stream < plan.messages % count)
            under_way = 1 if plan.scenario == "rr" else plan.outstanding // (count * max(plan.fanout, 1))
            publisher.ahead = max(under_way, 1)
            group = Ledger(is_group=True) if plan.shared else None
            if group is not None:
                self.ledgers.append((publisher, group))
            for subscriber in self.subscribers:
                if plan.is_paired and subscriber.number != publisher.stream:
                    continue
                ledger = group
                if ledger is None:
                    ledger = Ledger()
                    self.ledgers.append((publisher, ledger))
                subscriber.expect(publisher, ledger)

    def run(self) -> Result:
        allow_files(len(self.clients))
        target = resolve(self.plan)
        with self.loop:
            opener = Opener(self.loop, target, self.clients, CONCURRENCY)
            opener.run(lambda: self.is_stopping, self._ready, self._connecting)
            self._await_subscriptions()
            if not self.is_stopping:
                self._publish()
                self._drain()
                self._measure()
                self._finish()
            for client in self.clients:
                if client not in self.publishers:
                    client.disconnect()
            self._forget_retained()
            for client in self.publishers:
                client.disconnect()
            self._forget_sessions(target)
        self._judge()
        return self.result

    # ---- before ----

    def _ready(self, client: Connection) -> None:
        self.result.connected += 1
        if isinstance(client, Subscriber):
            client.subscribe()
        elif isinstance(client, Publisher):
            client.prepare()
        properties = client.connack.properties
        if properties is not None and properties.server_keep_alive:  # [MQTT-3.1.2-21]
            interval = properties.server_keep_alive * 500_000_000
            self._ping_interval = min(self._ping_interval or interval, interval)

    def _connecting(self, done: int) -> None:
        self.progress("connecting", done / len(self.clients))

    def _await_subscriptions(self) -> None:
        until = clock() + int(self.plan.patience * 1e9)
        while not self.is_stopping and not all(one.is_subscribed for one in self.subscribers):
            if clock() > until:
                raise ConnectionLost(f"the broker answers no SUBSCRIBE within {self.plan.patience:g} s")
            self.loop.turn(TURN_SECONDS)
            for client in self.loop.take_reports():
                if client.error:
                    raise ConnectionLost(client.error)

    # ---- publishing ----

    def _publish(self) -> None:
        plan = self.plan
        began = clock()
        starts = began + int(plan.warmup * 1e9)
        ends = None if plan.duration is None else starts + int(plan.duration * 1e9)
        if plan.rate is not None and self.publishers:
            self._interval = max(int(1e9 * len(self.publishers) / plan.rate), 1)
            self._due = [
                (began + self._interval * number // len(self.publishers), number)
                for number in range(len(self.publishers))
            ]
        self._mark(began)
        is_warming = plan.warmup > 0
        self.touched.update(self.publishers)
        self.loop.arrived = began
        now = began
        while not self._is_over(now, ends):
            if is_warming and now >= starts:
                is_warming = False
                self._mark(now)
            self.loop.turn(self._pump(now))
            now = clock()
            self._look_after(now, began, ends)

    def _is_over(self, now: int, ends: int | None) -> bool:
        if self.is_stopping or self.result.errors or (ends is not None and now >= ends):
            return True
        if self.plan.messages is None:
            return False
        if not self.publishers:
            return sum(one.delivered for one in self.subscribers) >= self.plan.messages
        return sum(one.sent for one in self.publishers) >= self.plan.messages

    def _pump(self, now: int) -> float:
        """Let all publish that can, a batch each; returns the seconds until there is more to do."""
        due = self._due
        while due and due[0][0] <= now:
            when, number = due[0]
            publisher = self.publishers[number]
            publisher.due.append(when)
            self.touched.add(publisher)
            if publisher.quota is not None and publisher.sent + len(publisher.due) >= publisher.quota:
                heapq.heappop(due)
            else:
                heapq.heapreplace(due, (when + self._interval, number))
        ready = list(self.touched)
        self.touched.clear()
        for publisher in ready:
            if self._interval:
                publisher.publish_due(clock())
                publisher.flush()
                continue
            if room := publisher.room():
                publisher.publish(room, clock())
                publisher.flush()
                if publisher.room():
                    self.touched.add(publisher)
        if self.touched:
            return 0.0
        return min((due[0][0] - now) / 1e9, TURN_SECONDS) if due else TURN_SECONDS

    def _look_after(self, now: int, began: int, ends: int | None) -> None:
        """Lost connections, pings, a broker that says nothing, the progress."""
        for client in self.loop.take_reports():
            if client.error:
                self.result.errors.append(client.error)
        if self._ping_interval and now - self._pinged > self._ping_interval:
            self._pinged = now
            for client in self.clients:
                client.ping()
        if now - self.loop.arrived > self.plan.patience * 1e9:
            self._stalled(now)
        share = 0.0
        if ends is not None:
            share = (now - began) / (ends - began)
        if self.plan.messages is not None:
            done = sum(one.sent for one in self.publishers) or sum(one.delivered for one in self.subscribers)
            share = max(share, done / self.plan.messages)
        self._tell("publishing" if self.publishers else "receiving", share)

    def _tell(self, phase: str, share: float) -> None:
        published = sum(one.sent for one in self.publishers)
        self.progress(phase, share, published, sum(one.delivered for one in self.subscribers))

    def _stalled(self, now: int) -> None:
        """Nothing came for long: what was to be delivered is taken for lost, so that it can go on."""
        self.loop.arrived = now
        for publisher in self.publishers:
            if publisher.undelivered > 0 and self.plan.rate is None:
                publisher.accounted += publisher.undelivered
                self.result.stalls += 1
                self.touched.add(publisher)
            if publisher.unacknowledged:
                self.result.errors.append(
                    f"the broker acknowledges nothing to {publisher.client_id} for {self.plan.patience:g} s"
                )

    # ---- after ----

    def _drain(self) -> None:
        """Wait for all that is under way, as long as anything comes."""
        for publisher in self.publishers:
            publisher.due.clear()
            publisher.ping()  # answered when the broker has taken all before it
        self.loop.arrived = clock()
        while self._is_under_way() and clock() - self.loop.arrived < self.plan.patience * 1e9:
            self.loop.turn(TURN_SECONDS)
            for client in self.loop.take_reports():
                if client.error and client.error not in self.result.errors:
                    self.result.errors.append(client.error)
            self._tell("waiting for the rest", 1.0)

    def _is_under_way(self) -> bool:
        return any(
            one.sock is not None and (one.undelivered > 0 or one.unacknowledged or one.pongs < one.pings)
            for one in self.publishers
        )

    def _finish(self) -> None:
        """Let every subscriber hear a PINGRESP behind all that it was sent: doubles may come late."""
        living = [one for one in self.subscribers if one.sock is not None]
        for subscriber in living:
            subscriber.ping()
        until = clock() + int(self.plan.patience * 1e9)
        while clock() < until and any(one.sock is not None and one.pongs < one.pings for one in living):
            self.loop.turn(TURN_SECONDS)
        for client in self.loop.take_reports():
            if client.error and client.error not in self.result.errors:
                self.result.errors.append(client.error)

    def _forget_retained(self) -> None:
        """See that nothing stays retained, as far as the broker listens."""
        if not self.plan.retain:
            return
        for publisher in self.publishers:
            publisher.forget_retained()
        until = clock() + int(self.plan.patience * 1e9)
        while clock() < until and any(
            one.sock is not None and one.pongs < one.pings for one in self.publishers
        ):
            self.loop.turn(TURN_SECONDS)

    def _forget_sessions(self, target: Target) -> None:
        """See that no session is kept: who connects with Clean Start ends it [MQTT-3.1.2-4]."""
        if not self.plan.kept:
            return
        cleaners = [Connection(self.plan, self.loop, one.client_id) for one in self.subscribers]
        try:
            Opener(self.loop, target, cleaners, CONCURRENCY).run(
                lambda: False, Connection.disconnect, lambda done: None
            )
        except ConnectionLost as error:
            self.result.errors.append(f"sessions are left behind: {error}")
        finally:
            for cleaner in cleaners:
                cleaner.close()

    # ---- figures ----

    def _counts(self) -> tuple[int, int, int]:
        """Finished, acknowledged, delivered: what the broker has worked for, not what is under way."""
        return (
            sum(one.finished for one in self.publishers),
            sum(one.done.low for one in self.publishers),
            sum(one.delivered for one in self.subscribers),
        )

    def _mark(self, now: int) -> None:
        """The measured span begins."""
        self._since = now
        self._marked = self._counts()
        for subscriber in self.subscribers:
            subscriber.latency = Histogram()
        for publisher in self.publishers:
            publisher.ack_latency = Histogram()
            publisher.lateness = Histogram()
        self.start_meters()

    def _measure(self) -> None:
        """The measured span ends, with what came last."""
        self.stop_meters()
        result = self.result
        result.seconds = max(self.loop.arrived - self._since, 1) / 1e9
        sent = sum(one.sent for one in self.publishers)  # all finished, or lost
        _, acknowledged, delivered = self._counts()
        result.published = sent - self._marked[0]
        result.acknowledged = acknowledged - self._marked[1]
        result.delivered = delivered - self._marked[2]

    def _judge(self) -> None:
        """Merge what all clients found."""
        result = self.result
        for publisher in self.publishers:
            result.refused += publisher.refused
            result.ack_latency.merge(publisher.ack_latency)
            result.lateness.merge(publisher.lateness)
            if publisher.unacknowledged:
                result.errors.append(
                    f"{publisher.unacknowledged} messages of {publisher.client_id} were not acknowledged"
                )
            elif publisher.pongs < publisher.pings and not publisher.error:
                result.errors.append(f"the broker does not answer {publisher.client_id}'s PINGREQ")
        topics: dict[str, Checks] = {}
        for publisher, ledger in self.ledgers:
            ledger.close(publisher.sent)
            topics.setdefault(publisher.topic, Checks()).add(ledger.checks)
        for subscriber in self.subscribers:
            result.latency.merge(subscriber.latency)
            result.foreign += subscriber.foreign
            for topic, checks in subscriber.corrupted.items():
                topics.setdefault(topic, Checks()).add(checks)
            for track in subscriber.tracks.values():
                checks = topics.setdefault(track.topic, Checks())
                checks.reordered += track.reordered
                if track.publisher is None:  # its sender is elsewhere
                    track.ledger.close(None)
                    checks.add(track.ledger.checks)
        for topic, checks in topics.items():
            result.checks.add(checks)
            if not checks.is_good:
                result.faults[topic] = checks
