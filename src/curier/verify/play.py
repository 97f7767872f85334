"""The play: clients load a broker, it is killed again and again, and at the end the ledgers are compared.

Publishers number their messages; receivers with persistent sessions write down what comes. One of them is
away when the broker is killed, so that it finds what waited for it. Before each kill a visitor makes a
session with two subscriptions and a will, gives up one of them, and is cut off by the kill; it comes again at
the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from random import Random
from typing import Final

from curier.codec import packets as p
from curier.frozen import dataclass
from curier.types import reason_name
from curier.verify.brokers import BrokerUnderTest, Unjudged
from curier.verify.caller import TICK_SECONDS, Caller, say_nothing
from curier.verify.ledger import (
    SESSION,
    Fault,
    Times,
    Visit,
    judge_delivery,
    judge_retained,
    judge_visits,
    judge_wills,
)
from curier.verify.peer import Peer

WINDOW: Final = 20
"""Messages that one publisher has unacknowledged, at most."""

VISITORS_AT_ONCE: Final = 50
QUIET_SECONDS: Final = 0.5
"""Nothing comes for so long, and all is there: nothing else will come."""

LOST_SECONDS: Final = 3.0
"""Patience where sessions are lost: what they had does not come any more."""

MOST_PATIENCE: Final = 10
"""Times the patience, for messages that do come, but do not end."""

AWAY_SECONDS: Final = 0.4
LARGE: Final = 100_000
"""Bytes of one payload in five hundred."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. ``seconds``: under load, for all rounds together; ``rate``: messages a second of
    all publishers together, 0 for as fast as it goes; ``patience``: seconds for what has to come;
    ``versions``: of MQTT, 4 (3.1.1) or 5, those to try; ``cleans_up``: the broker is not ours alone, and is
    left without the sessions and retained messages of the play.
    """

    rounds: int = 20
    seconds: float = 10.0
    seed: int = 0
    rate: float = 500.0
    patience: float = 40.0
    versions: tuple[int, ...] = (5, 4)
    prefix: str = "curier-verify"
    cleans_up: bool = False
    username: str | None = None
    password: bytes | None = None


class Play:
    """The whole play. ``tell`` is called now and then, to see how it stands."""

    def __init__(
        self, broker: BrokerUnderTest, plan: Plan, tell: Callable[[Play], None] | None = None
    ) -> None:
        self.broker = broker
        self.plan = plan
        self.tell = tell
        self.dice = Random(plan.seed)  # when there is a kill
        self.callers_dice = Random(plan.seed)  # apart, for how often they are cast depends on the machine
        self.phase = "starting"
        self.round = 0
        self.kills: list[float] = []
        self.visits: list[Visit] = []
        self.visitors: list[Caller] = []
        self.notes: list[str] = []  # what the reader has to know of how it was done
        self.unjudged = ""  # why not all could be judged
        self.faults: list[Fault] = []
        self.will_faults: list[Fault] = []
        self.seconds = 0.0
        self.is_stopping = asyncio.Event()
        self.senders: list[Peer] = []
        self.receivers: list[Peer] = []
        self.groups: list[tuple[Peer, ...]] = []  # of receivers that share a subscription
        self.callers: list[Caller] = []
        self.most_qos = 2
        self.may_retain = True
        self._allowance = 0.0
        self._allowed_at = 0.0
        self._speaks = False

    # ---- who plays ----

    def cast(self, versions: tuple[int, ...]) -> None:
        """Make the clients. Subclasses may make others: ``senders``, ``receivers``, ``groups``."""
        new, old = versions[0], versions[-1]
        topics = f"{self.plan.prefix}/t/#"
        self.senders = [
            self.peer("durable", old, [], True),
            self.peer("durable5" if new == 5 else "durable4", new, [], True),
            self.peer("fleeting", new, [], False),
        ]
        self.receivers = [
            self.peer("two", new, [(topics, 2)], True),
            self.peer("one", old, [(topics, 1)], True),
            self.peer("away", new, [(topics, 2)], True),
        ]

    def peer(self, name: str, version: int, filters: list[tuple[str, int]], is_durable: bool) -> Peer:
        """A client of this play."""
        made = Peer(name, version, filters, is_durable, time.time)
        made.client_id = f"{self.plan.prefix}-{name}".replace("/", "-")
        made.username, made.password = self.plan.username, self.plan.password
        return made

    def call(self, peer: Peer, once: bool = False) -> Caller:
        """Give it a network; ``run`` of what is returned has to be run."""
        return Caller(peer, self.broker, self.callers_dice, say_nothing, once)

    def _all_call(self) -> None:
        wills = self.peer("wills", self.senders[0].version, [(f"{self.plan.prefix}/will/#", 1)], True)
        self.wills = self.call(wills)
        for receiver in self.receivers:
            receiver.sources = self.senders
        self.callers = [self.call(peer) for peer in (*self.senders, *self.receivers)]
        for caller in self.callers:
            caller.breaks_off = True
        for caller in self.callers[: len(self.senders)]:
            caller.speak = self._publish
        self.callers.append(self.wills)

    @property
    def promised(self) -> int:
        """Messages that were acknowledged."""
        return sum(sender.promised for sender in self.senders)

    @property
    def delivered(self) -> int:
        """Messages that came, to all receivers together."""
        return sum(len(peer.got) for peer in self.receivers)

    # ---- what they say ----

    def _publish(self, peer: Peer) -> None:
        if not self._speaks:
            return
        while len(peer.unfinished) < min(WINDOW, peer.window) and self._is_allowed():
            dice = self.callers_dice
            qos = min(dice.choice((1, 2)), self.most_qos)
            padding = LARGE if dice.random() < 0.002 else dice.randrange(300)
            if self.may_retain and dice.random() < 0.05:
                peer.publish(f"{self.plan.prefix}/kept/{peer.name}", 1, True, padding)
            else:
                peer.publish(f"{self.plan.prefix}/t/{peer.name}/{qos}", qos, False, padding)

    def _is_allowed(self) -> bool:
        rate = self.plan.rate
        if not rate:
            return True
        now = time.monotonic()
        self._allowance = min(self._allowance + (now - self._allowed_at) * rate, max(rate / 10, 1.0))
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    # ---- the play ----

    async def run(self) -> None:
        """Play it, and judge. Raises ``ConfigError`` for what can never work; what else goes wrong is in
        ``unjudged``. Cancelling it kills what was started.
        """
        try:
            await self._run()
        except Unjudged as error:
            self.unjudged = self.unjudged or str(error)
            self.faults += self._noticed(Times(self.kills))
        finally:
            await asyncio.shield(self.broker.close())

    async def _run(self) -> None:
        await self.start()
        versions = await self._probe()
        self.cast(versions)
        self._all_call()
        async with self._running(self.callers) as check:
            await self._until(
                lambda: all(one.peer.is_subscribed for one in self.callers if one.peer.filters),
                "subscriptions",
                check,
            )
            self._speaks = True
            self.phase = "killing"
            began = time.monotonic()
            for number in range(1, self.plan.rounds + 1):
                self.round = number
                await self._play_round(check)
                if self.is_stopping.is_set():
                    break
            self.seconds = time.monotonic() - began
            self.phase = "settling"
            await self._settle(check)
        self.phase = "looking"
        found = await self._look_at_retained()
        await self._see_visitors()
        self._judge(found)
        if self.plan.cleans_up:
            await self._clean_up()

    async def start(self) -> None:
        """Start the broker, for the first time or again."""
        await self.broker.start()

    def stop(self) -> None:
        """No more kills: judge what there was so far."""
        self.is_stopping.set()

    async def _play_round(self, check: Callable[[], None]) -> None:
        plan, dice = self.plan, self.dice
        gap = dice.uniform(0, 2 * plan.seconds / plan.rounds)
        away = dice.uniform(0, min(AWAY_SECONDS, gap))
        visitor = self._visitor()
        async with self._running([visitor]):
            await self._sleep(gap - away)
            for caller in self.callers:
                if caller.peer.name == "away":
                    caller.leave()
            await self._sleep(away)
            check()
            if not self.is_stopping.is_set():
                await self.disturb()
        visit = self.visits[-1]
        visit.welcome_at = visitor.peer.welcome_at
        visit.subscribed_at, visit.unsubscribed_at = visitor.peer.subscribed_at, visitor.peer.left_at
        for caller in self.callers:
            caller.come_back()
        await self._until(lambda: any(one.peer.is_welcome for one in self.callers), "CONNACK", check)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.is_stopping.is_set():
            self._tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.is_stopping.wait(), min(left, 0.2))

    async def disturb(self) -> None:
        """Kill the broker, see that it is dead, and start it again."""
        before = [(one, one.calls) for one in self.callers if one.is_connected]
        await self.broker.kill()
        self.kills.append(time.time())
        await self._until(
            lambda: not any(one.is_connected and one.calls == calls for one, calls in before),
            "end",
            fails_as="the kill came back, but clients are connected as they were: nothing was killed",
        )
        await self.start()

    def _visitor(self) -> Caller:
        number = len(self.visits) + 1
        prefix = f"{self.plan.prefix}/visit/{number}"
        visit = Visit(
            f"visitor {number}", f"{prefix}/here", f"{prefix}/left", f"{self.plan.prefix}/will/{number}"
        )
        version = self.senders[number % 2].version
        peer = self.peer(f"visitor{number}", version, [(visit.topic, 1), (visit.left_topic, 1)], True)
        peer.leaving = [visit.left_topic]
        peer.will = p.Will(visit.will_topic, b"%d is gone" % number, min(1, self.most_qos))
        self.visits.append(visit)
        visitor = self.call(peer, once=True)
        self.visitors.append(visitor)
        return visitor

    # ---- waiting ----

    @contextlib.asynccontextmanager
    async def _running(self, callers: Iterable[Caller]) -> AsyncIterator[Callable[[], None]]:
        """Run these; what it gives raises what one of them has raised, or the broker's end."""
        tasks = [asyncio.create_task(caller.run()) for caller in callers]

        def check() -> None:
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
            self.broker.check()

        try:
            yield check
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until(
        self,
        condition: Callable[[], bool],
        what: str,
        check: Callable[[], None] | None = None,
        fails_as: str = "",
    ) -> None:
        """Wait until it holds. Raises ``Unjudged`` where it does not in time."""
        end = time.monotonic() + self.plan.patience
        while not condition():
            if check is not None:
                check()
            if time.monotonic() > end:
                where = f" behind kill {len(self.kills)}" if self.kills else ""
                why = next((f": {one.trouble}" for one in self.callers if one.trouble), "")
                refusal = next((one.peer.refusal for one in self.callers if one.peer.refusal), 0)
                if refusal:
                    why = f": a client is refused, {reason_name(refusal)}"
                raise Unjudged(fails_as or f"no {what} within {self.plan.patience:g} seconds{where}{why}")
            self._tell()
            await asyncio.sleep(TICK_SECONDS)

    async def _come_to_rest(self, count: Callable[[], int], is_enough: Callable[[], bool]) -> None:
        """Wait until nothing comes any more: a moment if all is there, longer if something is missing."""
        patience = self.plan.patience
        if any(fault.kind == SESSION for caller in self.callers for fault in caller.peer.faults):
            patience = min(patience, LOST_SECONDS)
        end = time.monotonic() + MOST_PATIENCE * patience
        last, since, was_asked = count(), time.monotonic(), False
        while time.monotonic() < end:
            await asyncio.sleep(TICK_SECONDS)
            self._tell()
            now = count()
            if now != last:
                last, since, was_asked = now, time.monotonic(), False
            quiet = time.monotonic() - since
            if quiet > patience:
                return
            if quiet > min(QUIET_SECONDS, patience) and not was_asked:  # once, for that may take a while
                was_asked = True
                if is_enough():
                    return
        self.unjudged = (
            self.unjudged or f"messages still came {MOST_PATIENCE * patience:g} seconds after the last kill"
        )

    def _tell(self) -> None:
        if self.tell is not None:
            self.tell(self)

    # ---- what the broker is like ----

    async def _probe(self) -> tuple[int, ...]:
        """Which versions it speaks, and within what limits."""
        self.phase = "calling"
        spoken, why = [], ""
        for number, version in enumerate(self.plan.versions):
            caller = self.call(self.peer(f"probe{number}", version, [], False), once=True)
            end = time.monotonic() + self.plan.patience
            async with self._running([caller]) as check:
                while not caller.peer.is_welcome and time.monotonic() < end:
                    check()
                    if caller.calls and not caller.is_connected:
                        break
                    await asyncio.sleep(TICK_SECONDS)
                if caller.peer.is_welcome:
                    spoken.append(version)
                    self.most_qos = min(self.most_qos, caller.peer.most_qos)
                    self.may_retain = self.may_retain and caller.peer.may_retain
                    continue
            why = caller.trouble or f"it closes the connection of a client of MQTT {_NAMES[version]}"
            if caller.peer.refusal:
                why = (
                    f"it refuses a client of MQTT {_NAMES[version]}: {_refusal(version, caller.peer.refusal)}"
                )
        if not spoken:
            raise Unjudged(f"{self.broker.url}: {why}")
        if len(spoken) < len(self.plan.versions):
            other = next(_NAMES[one] for one in self.plan.versions if one not in spoken)
            self.notes.append(f"all clients speak MQTT {_NAMES[spoken[0]]}, for the broker takes no {other}")
        if self.most_qos < 2:
            self.notes.append(f"nothing was seen of QoS 2: the broker takes QoS {self.most_qos} at most")
        if not self.may_retain:
            self.notes.append("nothing was seen of retained messages: the broker takes none")
        return tuple(spoken)

    # ---- the end ----

    async def _settle(self, check: Callable[[], None]) -> None:
        """No more kills, no more messages: everything on its way arrives."""
        self._speaks = False
        for caller in self.callers:
            caller.breaks_off = False
            caller.come_back()
        try:
            await self._until(
                lambda: not any(peer.unfinished for peer in self.senders), "acknowledgements", check
            )
            await self._until(lambda: all(one.peer.is_welcome for one in self.callers), "CONNACK", check)
        except Unjudged as error:
            self.unjudged = str(error)
        await self._come_to_rest(
            lambda: self.delivered + len(self.wills.peer.got),
            lambda: not any(self._judge_delivery()) and not any(peer.identifiers for peer in self.receivers),
        )

    async def _look_at_retained(self) -> dict[str, bytes]:
        late = self.call(
            self.peer("late", self.senders[0].version, [(f"{self.plan.prefix}/kept/#", 1)], False)
        )
        async with self._running([late]) as check:
            await self._until(lambda: late.peer.is_subscribed, "SUBACK", check)
            await self._come_to_rest(
                lambda: len(late.peer.got), lambda: not any(self._judge_retained(dict(late.peer.got)))
            )
        return dict(late.peer.got)

    async def _see_visitors(self) -> None:
        """They come again, some at a time, and there is a message for each of their two topics."""
        dealer = self.call(self.peer("dealer", self.senders[0].version, [], False))
        async with self._running([dealer]) as check:
            await self._until(lambda: dealer.peer.is_welcome, "CONNACK", check)
            for start in range(0, len(self.visits), VISITORS_AT_ONCE):
                end = start + VISITORS_AT_ONCE
                await self._see(self.visitors[start:end], self.visits[start:end], dealer.peer)

    async def _see(self, visitors: list[Caller], visits: list[Visit], dealer: Peer) -> None:
        for visitor in visitors:
            visitor.once = False
            visitor.peer.filters, visitor.peer.leaving, visitor.peer.will = [], [], None
        async with self._running(visitors) as check:
            await self._until(lambda: all(one.peer.is_welcome for one in visitors), "CONNACK", check)
            for visit, visitor in zip(visits, visitors, strict=True):
                visit.kept_session = visitor.peer.session_present
                for topic in (visit.left_topic, visit.topic):
                    await self._until(
                        lambda: len(dealer.unfinished) < min(WINDOW, dealer.window), "PUBACK", check
                    )
                    dealer.publish(topic, min(1, self.most_qos), False)

            def look() -> int:
                for visit, visitor in zip(visits, visitors, strict=True):
                    visit.got = {topic for topic, _ in visitor.peer.got}
                return sum(len(visit.got) for visit in visits)

            await self._until(lambda: not dealer.unfinished, "PUBACK", check)
            await self._come_to_rest(look, lambda: not any(judge_visits(visits)))

    async def _clean_up(self) -> None:
        """End all sessions, by beginning them anew for a moment, and remove what is retained."""
        callers = [*self.callers, *self.visitors]
        for caller in callers:
            caller.speak = say_nothing
            caller.peer.filters = []
            caller.peer.is_durable = False
            caller.peer.has_session = False
        for start in range(0, len(callers), VISITORS_AT_ONCE):
            await self._see_all(callers[start : start + VISITORS_AT_ONCE])
        sweeper = self.call(self.peer("sweeper", self.senders[0].version, [], False))
        async with self._running([sweeper]) as check:
            await self._until(lambda: sweeper.peer.is_welcome, "CONNACK", check)
            for sender in self.senders:
                sweeper.peer.remove_retained(f"{self.plan.prefix}/kept/{sender.name}")
            await self._until(lambda: not sweeper.peer.unfinished, "PUBACK", check)

    async def _see_all(self, callers: list[Caller]) -> None:
        async with self._running(callers) as check:
            await self._until(lambda: all(one.peer.is_welcome for one in callers), "CONNACK", check)

    def _judge_delivery(self, times: Times | None = None) -> Iterator[Fault]:
        shared = {peer for group in self.groups for peer in group}
        for sender in self.senders:
            for receiver in self.receivers:
                if receiver not in shared:
                    qos = receiver.filters[0][1]
                    yield from judge_delivery(
                        sender, f"receiver {receiver.name!r}", receiver.got, qos, True, times
                    )
            for group in self.groups:
                got = [one for peer in group for one in peer.got]
                qos = min(peer.filters[0][1] for peer in group)
                yield from judge_delivery(sender, "the group", got, qos, False, times)

    def _judge_retained(self, found: dict[str, bytes], times: Times | None = None) -> Iterator[Fault]:
        for sender in self.senders:
            yield from judge_retained(sender, found, times)

    def _noticed(self, times: Times) -> Iterator[Fault]:
        """What clients have noticed by themselves; when a session was begun is told here."""
        for caller in self.callers:
            for fault in caller.peer.faults:
                if fault.kind == SESSION:
                    when = times.when(fault.acknowledged_at)
                    said = f"the session of {caller.peer.name!r} was acknowledged {when} and is not there"
                    fault = Fault(SESSION, said, acknowledged_at=fault.acknowledged_at)
                yield fault

    def _judge(self, retained: dict[str, bytes]) -> None:
        times = Times(self.kills)
        self.faults += self._judge_delivery(times)
        self.faults += self._judge_retained(retained, times)
        self.faults += self._noticed(times)
        self.faults += judge_visits(self.visits, times)
        self.will_faults += judge_wills(self.visits, self.wills.peer.got, times)
        refused = sum(sender.refused.total() for sender in self.senders)
        if refused:
            code = next(code for sender in self.senders for code in sender.refused)
            self.notes.append(f"{refused:,} messages were refused, the first with {reason_name(code)}")


_NAMES: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}
_RETURN_CODES: Final = (
    "accepted",
    "unacceptable protocol version",
    "identifier rejected",
    "server unavailable",
    "bad user name or password",
    "not authorized",
)
"""Of CONNACK in 3.1.1 (table 3.1)."""


def _refusal(version: int, code: int) -> str:
    if version < 5 or code < 0x80:
        return _RETURN_CODES[code] if code < len(_RETURN_CODES) else str(code)
    return reason_name(code)
