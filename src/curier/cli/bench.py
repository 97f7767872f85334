"""``curier bench``: the options of a run, its progress on a terminal, and the report."""

from __future__ import annotations

import json
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from curier.cli.parameters import seconds, size
from curier.cli.tls_options import TlsOptions
from curier.client.urls import ServerUrl, parse_server_url
from curier.loadgen import (
    MIXED,
    MIXED_SPREAD,
    MIXED_TOPICS,
    SCENARIOS,
    Connects,
    Plan,
    Progress,
    Result,
    Traffic,
    Work,
)

if TYPE_CHECKING:
    import ssl

BAR_WIDTH = 24
MOST_FAULTS = 10
"""Topics that are listed; the JSON has all of them."""


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise click.BadParameter(f"expected a number above 0, got {text!r}")
    return value


@click.command()
@click.argument("scenario", type=click.Choice(list(SCENARIOS)))
@click.argument("url", default="tcp://127.0.0.1:1883")
@click.option("--qos", type=click.IntRange(0, 2), default=0, show_default=True, help="QoS of messages.")
@click.option(
    "--mqtt", type=click.Choice(["3.1.1", "5.0"]), default="3.1.1", show_default=True, help="MQTT version."
)
@click.option("--payload", type=size, help="Bytes of a payload, from 32 on.  [default: 64]")
@click.option("--publishers", type=click.IntRange(0), help="How many; see the scenarios for the default.")
@click.option("--subscribers", type=click.IntRange(0), help="How many; see the scenarios for the default.")
@click.option("--rate", type=positive, help="Messages or connections a second in all.  [default: flood]")
@click.option("--seconds", type=seconds, help="How long.  [default: 10, or until --messages]")
@click.option("--messages", type=click.IntRange(1), help="How many messages, all publishers together.")
@click.option("--warmup", type=seconds, default="0", show_default=True, help="Seconds before it counts.")
@click.option(
    "--inflight", type=int, default=100, show_default=True, help="QoS 1 and 2: unacknowledged, per publisher."
)
@click.option(
    "--outstanding", type=int, default=20_000, show_default=True, help="In a flood: deliveries under way."
)
@click.option("--shared", is_flag=True, help="All subscribers share one subscription.")
@click.option("--topic", metavar="PREFIX", help="What topics begin with.  [default: curier-bench/RUN]")
@click.option("--topics", type=int, help="Topics of each publisher, in turn.  [default: 100; rr: 1]")
@click.option(
    "--spread", type=size, help="Bytes by which payloads differ.  [default: 400; with --payload, and rr: 0]"
)
@click.option("--retain", is_flag=True, help="With RETAIN; what is retained is removed at the end.")
@click.option("--aliases", is_flag=True, help="Publish by Topic Alias (MQTT 5.0).")
@click.option("--kept", is_flag=True, help="Sessions of subscribers outlive their connections, as on disk.")
@click.option("--connections", type=int, default=1000, show_default=True, help="connect: how many.")
@click.option("--concurrency", type=int, default=100, show_default=True, help="connect: at the same time.")
@click.option("--hold", type=seconds, default="0", show_default=True, help="connect: stay so many seconds.")
@click.option("--username", metavar="NAME", help="User name.")
@click.option(
    "--password", metavar="TEXT", envvar="CURIER_PASSWORD", help="Better in the variable CURIER_PASSWORD."
)
@click.option(
    "--patience", type=seconds, default="5", show_default=True, help="Silence after which the rest is lost."
)
@click.option("--cafile", metavar="FILE", help="Certificates of those who may sign the broker's.")
@click.option("--cert", metavar="FILE", help="TLS: the certificate of all clients.")
@click.option("--key", metavar="FILE", help="The key of --cert, if it is not in the same file.")
@click.option("--insecure", is_flag=True, help="TLS: do not compare the name in the certificate.")
@click.option(
    "--batched", is_flag=True, help="A TLS record, a WebSocket frame for each write, not each packet."
)
@click.option("--pid", type=int, help="Process id of the broker on this machine: report CPU time and memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def bench(scenario: str, url: str, as_json: bool, **options: Any) -> None:
    """Load the broker at URL with messages, measure it, and check that every message arrives as it was sent.

    \b
    SCENARIO        publishers, subscribers
      pub           1, 0    nobody is subscribed, unless elsewhere
      sub           0, 1    gets what others publish; checks what `curier bench pub` sends
      pubsub        1, 1    every subscriber gets what every publisher sends
      fanout        1, 100
      fanin         50, 1
      pairs         50, 50  every publisher has a subscriber of its own
      rr            1, 1    one message at a time: the next goes when the last has arrived
      connect               --connections clients connect and stay; no messages

    Topics and sizes differ from one message to the next, as those of fleets do. --topics 1 --spread 0 sends
    floods of like packets, which any broker is fastest with. `rr`, `pub` and `sub` have one topic and size.

    URL is tcp:// (or mqtt://), mqtts://, ws://, wss:// or unix://. By TLS and WebSocket each packet is a
    record and a frame of its own, as most clients send them, unless --batched.

    It stops by itself; Ctrl-C stops it earlier and gives what was measured so far, a second one gives
    nothing. Each publisher numbers its messages. Lost is what never came, doubled what came again, reordered
    what came after a later one of its topic, corrupted what is not as it was sent. Without --rate it goes as
    fast as --outstanding and --inflight let it, and latency says mostly how much is under way; with --rate
    latency counts from when a message was due.

    It exits with 0 when all was well, with 1 when messages were lost, doubled, reordered, corrupted or
    refused or a connection failed, with 2 for wrong usage.

    \b
    Examples:
      curier bench pubsub
      curier bench fanout mqtt://ana@broker.example --qos 1 --subscribers 500 --payload "1 KiB"
      curier bench pairs --publishers 10 --rate 5000 --seconds 30 --mqtt 5.0
      curier bench rr --qos 1 --json
      curier bench fanin --mqtt 5.0 --qos 1 --aliases --kept
      curier bench pubsub --topics 1 --spread 0
      curier bench pairs wss://broker.example/mqtt --cafile ca.crt
      curier bench connect --connections 10000 --pid $(pgrep -x mosquitto)
      curier bench sub --seconds 60          # in one terminal, and in another one
      curier bench pub --rate 100
    """
    plan = make_plan(scenario, parse_url(url), options)
    result = perform(plan)
    if result is None:
        raise click.ClickException("interrupted before anything was measured")
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else report(result))
    if not result.is_good:
        raise SystemExit(1)


def parse_url(url: str) -> ServerUrl:
    """Where the broker is; raises ``ConfigError``. As with ``--listen``, ``tcp://`` and nothing are MQTT."""
    scheme, found, rest = url.partition("://")
    if not found:
        return parse_server_url(f"mqtt://{url}")
    return parse_server_url(f"mqtt://{rest}" if scheme.lower() == "tcp" else url)


def make_plan(scenario: str, there: ServerUrl, options: dict[str, Any]) -> Plan:
    """The plan that the options ask for. Raises ``ConfigError`` and ``click.UsageError``."""
    mix(scenario, options)
    tls_options = TlsOptions()
    for name in ("cafile", "cert", "key", "insecure"):
        setattr(tls_options, name, options.pop(name))
    if tls_options.ask_for_tls and not there.is_tls:
        raise click.UsageError(
            f"--cafile, --cert, --key and --insecure are for mqtts:// and wss://, not {there}"
        )
    username, password = options.pop("username"), options.pop("password")
    secret = password if password is not None else there.password
    query = f"?{there.query}" if there.query else ""
    return Plan(
        scenario,
        there.host,
        there.port,
        version=5 if options.pop("mqtt") == "5.0" else 4,
        username=username if username is not None else there.username,
        password=None if secret is None else secret.encode(),
        socket_file=there.path if there.scheme == "unix" else None,
        tls=context(tls_options) if there.is_tls else None,
        web_path=there.path + query if there.is_websocket else None,
        **options,  # all others are named as the plan has them
    )


def mix(scenario: str, options: dict[str, Any]) -> None:
    """Topics and sizes, where nobody said them: as of a fleet, other ones from one message to the next."""
    is_mixed = scenario in MIXED
    if options["topics"] is None:
        options["topics"] = MIXED_TOPICS if is_mixed else 1
    if options["spread"] is None:
        options["spread"] = MIXED_SPREAD if is_mixed and options["payload"] is None else 0
    if options["payload"] is None:
        options["payload"] = 64


def context(options: TlsOptions) -> ssl.SSLContext:
    """How TLS is spoken; read once for all clients."""
    from curier.cli.tls import client_context

    return client_context(options)


def perform(plan: Plan) -> Result | None:
    """Run it, with a progress bar where a terminal watches; None if it was stopped too early."""
    bar = Bar() if sys.stderr.isatty() else None
    watch = bar.show if bar is not None else None
    work: Work = Connects(plan, watch) if plan.scenario == "connect" else Traffic(plan, watch)

    def stop(number: int, frame: FrameType | None) -> None:
        if work.is_stopping:
            raise KeyboardInterrupt
        work.stop()

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        result = work.run()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        if bar is not None:
            bar.clear()
    return None if result.was_interrupted and not result.seconds else result


class Bar:
    """One line on standard error that stays in place."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), 0)
        self._width = 0

    def show(self, progress: Progress) -> None:
        """Draw it anew."""
        now, count = time.monotonic(), progress.published + progress.delivered
        then, before = self._last
        self._last = (now, count)
        done = round(progress.share * BAR_WIDTH)
        line = f"[{'#' * done}{'.' * (BAR_WIDTH - done)}] {progress.share:4.0%} {progress.phase}"
        if count and now > then:
            line += f", {max(count - before, 0) / (now - then):,.0f} messages/s in and out"
        sys.stderr.write(f"\r{line.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Leave nothing behind."""
        sys.stderr.write(f"\r{' ' * self._width}\r")
        sys.stderr.flush()


def report(result: Result) -> str:
    """The result for people."""
    found = result.as_json()
    plan = result.plan
    lines = [_title(plan) + (", interrupted" if result.was_interrupted else "")]
    if plan.scenario == "connect":
        lines.append(
            f"connected    {result.connected:,} clients in {result.seconds:.2f} s, "
            f"{found['connections_per_s']:,.0f}/s"
        )
        lines += _latency("connecting", found["connect_latency_us"])
    else:
        if plan.publisher_count:
            lines.append(f"published    {result.published:,} messages, {found['published_per_s']:,.0f}/s")
        if plan.subscriber_count:
            lines.append(f"delivered    {result.delivered:,} messages, {found['delivered_per_s']:,.0f}/s")
        lines += _latency("latency", found["latency_us"])
        lines += _latency("acknowledged", found["ack_latency_us"])
        lines += _latency("late start", found["lateness_us"])
        lines += _checks(result)
    lines += _broker(result)
    lines += [f"error        {error}" for error in result.errors[:MOST_FAULTS]]
    return "\n".join(lines)


def _title(plan: Plan) -> str:
    version = "MQTT 5.0" if plan.version == 5 else "MQTT 3.1.1"
    if plan.scenario == "connect":
        return f"{plan.scenario}: {version}, {plan.connections:,} clients"
    sizes = f"{plan.payload:,} to {plan.payload + plan.spread:,}" if plan.spread else f"{plan.payload:,}"
    topics = f", {plan.topics:,} topics each" if plan.topics > 1 else ""
    return (
        f"{plan.scenario}: {version}, QoS {plan.qos}, {plan.publisher_count} to {plan.subscriber_count}, "
        f"{sizes} bytes{topics}"
    )


def _latency(name: str, found: dict[str, float] | None) -> list[str]:
    if found is None:
        return []
    shown = ", ".join(
        f"{key.replace('_', '.')} {_time(value)}" for key, value in found.items() if key != "mean"
    )
    return [f"{name:12} {shown}"]


def _time(microseconds: float) -> str:
    """A time with three digits that count, in the unit that suits it."""
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= factor:
            return f"{microseconds / factor:.3g} {unit}"
    return f"{microseconds:.3g} µs"


def _checks(result: Result) -> list[str]:
    checks = result.checks
    counts = {name: count for name, count in checks.as_json().items() if name != "received"}
    counts["refused"] = result.refused
    bad = [f"{count:,} {name}" for name, count in counts.items() if count]
    lines = []
    if result.plan.subscriber_count or bad:
        lines.append(f"checked      {checks.received:,} messages: {', '.join(bad) or 'all well'}")
    if result.foreign:
        lines.append(f"foreign      {result.foreign:,} messages that no `curier bench` has sent")
    if result.stalls:
        lines.append(f"stalled      {result.stalls} times: nothing came for {result.plan.patience:g} s")
    for topic, fault in list(result.faults.items())[:MOST_FAULTS]:
        told = ", ".join(f"{count:,} {name}" for name, count in fault.as_json().items() if count)
        lines.append(f"  {click.unstyle(topic)}: {told}")
    if len(result.faults) > MOST_FAULTS:
        lines.append(f"  and {len(result.faults) - MOST_FAULTS} more topics; --json has all of them")
    return lines


def _broker(result: Result) -> list[str]:
    if result.plan.pid is None:
        return []
    usage, cost = result.broker, result.broker_cpu_us
    if usage is None or cost is None:
        return ["broker       CPU time and memory are not available here"]
    what = "connection" if result.plan.scenario == "connect" else "message in or out"
    each = ""
    if result.plan.scenario == "connect" and result.connected:
        each = f", {usage.rss_growth_bytes / result.connected / 1024:.1f} KiB a connection"
    return [
        f"broker       {usage.cpu_seconds:.2f} s of CPU time, {cost:.3g} µs per {what}; "
        f"{usage.rss_bytes / 2**20:.1f} MiB of memory, {usage.rss_growth_bytes / 2**20:+.1f} MiB{each}"
    ]
