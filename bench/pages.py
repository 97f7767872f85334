"""What the pages of the window cost a broker under load, and what each costs the one who looks.

Ten pages on ten views are open in a real Chromium, each with a login of its own, while clients send messages
at a steady rate and others only stay connected. Rounds with and without pages take turns, so that a busy
machine is equally busy for both. Then the load ends: what do pages cost that watch a broker at rest? At last
the broker is killed and started again: do all pages say so, and come back?

    python -m bench.pages
    python -m bench.pages --rounds 5 --rate 20000 --clients 1000
    python -m bench.pages --load 'mqttload pubsub --rate {rate} --seconds {seconds} --port {port}'
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.request import urlopen

import psutil

from tests.interop.chromium import Chromium
from tests.net.doors import server_files
from tests.waiting import wait_until

VIEWS: Final = (
    *("overview", "clients", "sessions", "topics", "retained"),
    *("wire", "fate", "tryit", "log", "configuration"),
)
SETTLE: Final = 3.0
LOAD: Final = (
    "{python} -m curier bench pairs --topics 1 --spread 0 --publishers 10 --rate {rate} --seconds {seconds} "
    "tcp://127.0.0.1:{port}"
)
IDLE: Final = (
    "{python} -m curier bench connect --connections {clients} --seconds {seconds} tcp://127.0.0.1:{port}"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Broker:
    """``curier broker``, at the same two ports whenever it is started."""

    def __init__(self) -> None:
        self.port, self.web = free_port(), free_port()
        self.process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        where = ("--listen", f"tcp://127.0.0.1:{self.port}", "--web", f"http://127.0.0.1:{self.web}")
        command = [sys.executable, "-m", "curier", "broker", "--memory", "--log-level", "warning", *where]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        found = next(re.search(r"http://\S+", line) for line in self.process.stdout if "window:" in line)
        assert found
        self.link = found[0]
        self.seen = psutil.Process(self.process.pid)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def counts(self) -> tuple[float, float]:
        """Seconds of the processor that it has used, and messages in and out."""
        with urlopen(f"http://127.0.0.1:{self.web}/metrics", timeout=30) as answer:
            page = answer.read().decode()
        messages = re.findall(r"^curier_publishes_\w+_total (\d+)$", page, re.MULTILINE)
        used = self.seen.cpu_times()
        return used.user + used.system, sum(map(int, messages))

    def memory(self) -> float:
        return float(self.seen.memory_info().rss) / 2**20


class Page:
    """One page, in a profile of its own: a browser has six connections to a place, for all of one profile."""

    def __init__(self, browser: Chromium, view: str) -> None:
        self.view = view
        self._browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Performance.enable")
        self._call("Emulation.setFocusEmulationEnabled", enabled=True)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._browser.call(method, self._session, **arguments)

    def run(self, script: str) -> Any:
        told = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return told["result"].get("value")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)
        wait_until(lambda: self.run("document.readyState") == "complete")

    def text(self) -> str:
        return str(self.run("document.body?.innerText ?? ''"))

    def show(self, base: str) -> None:
        """Its view; it has to be seen, and to know something."""
        self.open(f"{base}/#/{self.view}")
        wait_until(lambda: bool(self.run("document.querySelector('main h1') !== null && !document.hidden")))

    def busy(self) -> float:
        """Seconds that its main thread has worked."""
        found = self._call("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


class Browser:
    """Chromium, its pages, and what all its processes use."""

    def __init__(self, folder: Path) -> None:
        self.chromium = Chromium(folder, server_files()[0])
        self.pages = [Page(self.chromium, view) for view in VIEWS]
        self._root = psutil.Process(self.chromium.popen.pid)

    def log_in(self, broker: Broker) -> None:
        link, base = broker.link, f"http://127.0.0.1:{broker.web}"
        for page in self.pages:
            page.open(link)
            wait_until(lambda page=page: "Overview" in page.text())  # type: ignore[misc]
            how = "fetch('api/v1/session/link', {method: 'POST', body: '{}', headers: {'x-curier': '1'}})"
            link = f"{base}/" + page.run(f"{how}.then((one) => one.json()).then((one) => one.link)")

    def used(self) -> float:
        """Seconds of the processor of all its processes."""
        total = 0.0
        for one in [self._root, *self._root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                used = one.cpu_times()
                total += used.user + used.system
        return total


class Measured(NamedTuple):
    """Of one phase: shares of a core, microseconds a message, messages a second."""

    broker: float
    each: float
    rate: float
    browser: float
    views: dict[str, float]


def measure(broker: Broker, browser: Browser, seconds: float) -> Measured:
    began = time.monotonic()
    cpu, messages = broker.counts()
    used = browser.used()
    busy = {page.view: page.busy() for page in browser.pages}
    time.sleep(seconds)
    took = time.monotonic() - began
    more_cpu, more = broker.counts()
    views = {page.view: (page.busy() - busy[page.view]) / took for page in browser.pages}
    cpu, count = more_cpu - cpu, more - messages
    return Measured(
        cpu / took, cpu / max(count, 1) * 1e6, count / took, (browser.used() - used) / took, views
    )


@contextlib.contextmanager
def running(template: str, **values: object) -> Iterator[None]:
    """A program that runs meanwhile."""
    command = shlex.split(template.format(python=sys.executable, **values))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def rounds(broker: Broker, browser: Browser, how: argparse.Namespace) -> dict[bool, list[Measured]]:
    """Without pages and with them, in turns."""
    base, found = f"http://127.0.0.1:{broker.web}", {False: list[Measured](), True: list[Measured]()}
    for number in range(how.rounds):
        for are_open in (False, True) if number % 2 == 0 else (True, False):
            for page in browser.pages:
                page.show(base) if are_open else page.open("about:blank")
            time.sleep(SETTLE)
            found[are_open].append(measure(broker, browser, how.seconds))
            one = found[are_open][-1]
            print(
                f"  {'ten pages' if are_open else 'no page  '} {one.broker:6.1%} {one.each:.3f} µs",
                flush=True,
            )
    return found


def of_all(measured: list[Measured], value: Callable[[Measured], float]) -> float:
    return statistics.median(value(one) for one in measured)


def goes_and_comes_back(broker: Broker, browser: Browser) -> tuple[int, int]:
    """How many pages say that it is away, and how many show it again after a new login."""
    broker.kill()
    time.sleep(10)
    away = sum("does not answer" in page.text() for page in browser.pages)
    broker.start()
    time.sleep(10)
    told = sum("Your login has ended" in page.text() for page in browser.pages)
    print(f"  {told} of {len(VIEWS)} pages ask to log in again", flush=True)
    browser.log_in(broker)
    for page in browser.pages:
        page.show(f"http://127.0.0.1:{broker.web}")
    return away, sum("does not answer" not in page.text() for page in browser.pages)


def report(found: dict[bool, list[Measured]], rest: Measured, memory: list[float]) -> None:
    without, with_pages = found[False], found[True]
    print("\n| | no page | ten pages | |\n|---|---:|---:|---:|")
    for name, value, form in (
        ("messages in and out a second", lambda one: one.rate, ",.0f"),
        ("the broker's share of a core", lambda one: one.broker, ".1%"),
        ("the same, µs a message", lambda one: one.each, ".3f"),
    ):
        before, after = of_all(without, value), of_all(with_pages, value)
        print(f"| {name} | {before:{form}} | {after:{form}} | {after / before:.3f} |")
    sizes = " | ".join(f"{one:.0f}" for one in memory)
    print(f"| the broker's memory, MiB: before, with pages, at the end | {sizes} |")
    load, idle = of_all(with_pages, lambda one: one.browser) / len(VIEWS), rest.browser / len(VIEWS)
    print(f"| all of the browser, share of a core a page | | {load:.1%} | {idle:.1%} at rest |")
    print("\n| main thread of the page on | under load | at rest |\n|---|---:|---:|")
    for view in VIEWS:
        busy = of_all(with_pages, lambda one, view=view: one.views[view])  # type: ignore[misc]
        print(f"| {view} | {busy:.1%} | {rest.views[view]:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4, help="each has one phase with pages and one without")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one phase")
    parser.add_argument("--rate", type=int, default=50_000, help="published a second, and as many delivered")
    parser.add_argument("--clients", type=int, default=10_000, help="that only stay connected")
    parser.add_argument("--load", default=LOAD, help="the command that sends, with {port}, {rate}, {seconds}")
    how = parser.parse_args()
    long = int(how.rounds * 2 * (how.seconds + SETTLE + 30)) + 120
    broker = Broker()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(Path(folder))
        try:
            browser.log_in(broker)
            values = {"port": broker.port, "rate": how.rate, "seconds": long, "clients": how.clients}
            with running(IDLE, **values) if how.clients else contextlib.nullcontext():
                wait_until(lambda: broker.seen.num_fds() > how.clients)
                with running(how.load, **values):
                    time.sleep(SETTLE)
                    memory = [broker.memory()]
                    found = rounds(broker, browser, how)
                    memory.append(broker.memory())
                for page in browser.pages:
                    page.show(f"http://127.0.0.1:{broker.web}")
                time.sleep(SETTLE)
                rest = measure(broker, browser, how.seconds)
                memory.append(broker.memory())
            away, back = goes_and_comes_back(broker, browser)
        finally:
            browser.chromium.close()
            broker.kill()
    report(found, rest, memory)
    total = len(VIEWS)
    print(f"\nThe broker was killed: {away} of {total} pages said so, {back} went on once it was back.")


if __name__ == "__main__":
    main()
