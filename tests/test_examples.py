"""The examples, and what README.md shows, run for real: programs of their own, and a broker of its own."""

import os
import pty
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from curier import Message, QoS, ReasonCode, Subscription
from curier.hook_files.reading import read
from tests.conftest import require_peer
from tests.interop.peer import TIMEOUT, Connect
from tests.interop.process import BrokerProcess
from tests.ports import free_port
from tests.test_docs import PROMISES, blocks

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent


class Program:
    """A program that runs, and what it has printed."""

    def __init__(self, *command: str, terminal: bool = False) -> None:
        if terminal:
            self.output, theirs = pty.openpty()
            self.popen = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=ROOT)
            os.close(theirs)
        else:
            self.output, theirs = os.pipe()
            self.popen = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=ROOT)
            os.close(theirs)
        self.said = ""
        self.more: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.output, 65536)
            except OSError:  # the end of a terminal
                break
            if not data:
                break
            self.more.put(data.decode(errors="replace"))
        os.close(self.output)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """What it printed that matches; waits until it has printed that."""
        until = time.monotonic() + TIMEOUT
        while (found := re.search(pattern, self.said)) is None:
            try:
                self.said += self.more.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{pattern!r} is not in {self.said!r}") from None
        return found

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, and wait for the end; the exit code."""
        if number is not None and self.popen.poll() is None:
            self.popen.send_signal(number)
        code = self.popen.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        while not self.more.empty():
            self.said += self.more.get()
        return code


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path_factory.mktemp("examples"), memory=True)
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def start() -> Iterator[Any]:
    """Start an example; whatever still runs when the test ends is killed."""
    require_peer("psutil")
    programs: list[Program] = []

    def start(name: str, *arguments: object, terminal: bool = False) -> Program:
        command = [sys.executable, "-W", "error", f"examples/{name}", *map(str, arguments)]
        programs.append(Program(*command, terminal=terminal))
        return programs[-1]

    yield start
    for program in programs:
        program.end(signal.SIGKILL)


@pytest.fixture
def client() -> Iterator[Any]:
    """Connect a paho client to a port, in MQTT 5.0."""
    require_peer("paho")
    from tests.interop.paho_peer import PahoClient

    clients: list[PahoClient] = []

    def connect(port: int) -> PahoClient:
        clients.append(PahoClient(Connect(port, 5)))
        return clients[-1]

    yield connect
    for one in clients:
        one.disconnect()


def url_of(broker: BrokerProcess) -> str:
    return f"mqtt://127.0.0.1:{broker.port}"


def test_first_steps(broker: BrokerProcess, start: Any) -> None:
    program = start("first_steps.py", "--url", url_of(broker))
    assert program.end() == 0
    assert program.said.splitlines() == [
        "connected",
        "subscribed to greetings/#",
        "greetings/world: hello",
    ]


def test_web_program(start: Any, client: Any) -> None:
    for name in ("fastapi", "uvicorn"):
        require_peer(name)
    port, mqtt_port = free_port(), free_port()
    program = start("web_program.py", "--port", port, "--mqtt-port", mqtt_port)
    program.wait_for("Application startup complete")
    device = client(mqtt_port)
    device.subscribe(Subscription("orders/#", QoS(1)))
    order = httpx.post(f"http://127.0.0.1:{port}/orders/7", content=b"a cake", trust_env=False, timeout=100)
    assert order.json() == {"order": "taken"}
    assert device.next().payload == b"a cake"
    assert httpx.get(f"http://127.0.0.1:{port}/health/", trust_env=False, timeout=100).status_code == 200
    assert program.end(signal.SIGTERM) in (0, -signal.SIGTERM)  # uvicorn raises it again at the end
    assert "Traceback" not in program.said


def test_embedded_broker(start: Any, client: Any) -> None:
    program = start("embedded_broker.py", "--port", 0)
    port = int(program.wait_for(r"listening on tcp://127.0.0.1:(\d+)\s")[1])
    visitor = client(port)
    program.wait_for("i[0-9a-f]+ is here")
    visitor.subscribe(Subscription("clock/#"))
    first, second = visitor.next(), visitor.next()
    assert first.topic == second.topic == "clock/now"
    assert (first.retain, second.retain) == (True, False)
    visitor.publish(Message("chat", b"good morning", QoS(1)))
    program.wait_for("i[0-9a-f]+ says 'good morning'")
    refused: queue.Queue[int] = queue.Queue()
    visitor.client.on_publish = lambda *told: refused.put(told[3].value)
    visitor.publish(Message("clock/now", b"teatime", QoS(1)))
    assert refused.get(timeout=TIMEOUT) == ReasonCode.NOT_AUTHORIZED
    visitor.disconnect()
    program.wait_for("i[0-9a-f]+ has left: the client disconnected")
    assert program.end(signal.SIGINT) == 0
    assert "Traceback" not in program.said


def test_machines_and_a_watcher(broker: BrokerProcess, start: Any) -> None:
    """A machine tells its figures; it is killed, and the watcher hears from the broker that it is gone."""
    watcher = start("system_monitor.py", "watch", "--url", url_of(broker))
    machine = start("system_monitor.py", "--url", url_of(broker), "--name", "alpha", "--interval", 0.1)
    watcher.wait_for(r"alpha: status here")
    watcher.wait_for(r"alpha: cpu \d+ %, load \d+\.\d\d")
    watcher.wait_for(r"alpha: memory \d+ %")
    watcher.wait_for(r"alpha: disk \d+ %")
    watcher.wait_for(r"alpha: received [\d.]+ [KMGT]?i?B/s, sent [\d.]+ [KMGT]?i?B/s")
    watcher.wait_for(r"alpha: temperature (n/a|[\d.]+ °C)")
    machine.end(signal.SIGKILL)
    watcher.wait_for(r"alpha: status gone")
    assert watcher.end(signal.SIGINT) == 0
    assert "Traceback" not in watcher.said


def test_a_table_that_stays_in_place(broker: BrokerProcess, start: Any) -> None:
    start("system_monitor.py", "--url", url_of(broker), "--name", "beta", "--interval", 0.1)
    machine = start("system_monitor.py", "--url", url_of(broker), "--name", "gamma", "--interval", 0.1)
    watcher = start("system_monitor.py", "watch", "--url", url_of(broker), terminal=True)
    here = r"\x1b\[\d+A\x1b\[Jmachine +status[^\x1b]*beta +here +\d+ %"
    watcher.wait_for(here + r"[^\x1b]*gamma +here +\d+ %")
    machine.end(signal.SIGKILL)
    watcher.wait_for(here + r"[^\x1b]*gamma +gone, \d+ s ago")
    assert watcher.end(signal.SIGINT) == 0


@pytest.mark.parametrize("how", ["count", "Ctrl-C"])
def test_a_machine_that_ends_says_so(broker: BrokerProcess, start: Any, client: Any, how: str) -> None:
    """What it leaves is retained, each figure with its QoS; a name with a slash is still one level."""
    name = f"delta-{len(how)}"
    arguments = ["--url", url_of(broker), "--name", f"delta/{len(how)}", "--interval", 0.1]
    machine = start("system_monitor.py", *arguments, *(["--count", 2] if how == "count" else []))
    machine.wait_for("publishing")
    if how == "Ctrl-C":
        witness = client(broker.port)
        witness.subscribe(Subscription(f"monitor/{name}/temperature"))
        witness.next()
    assert machine.end(None if how == "count" else signal.SIGINT) == 0
    late = client(broker.port)
    late.subscribe(Subscription(f"monitor/{name}/+", QoS(2)))
    found = {message.topic.split("/")[2]: message for message in (late.next() for _ in range(6))}
    assert {what: message.qos for what, message in found.items()} == {
        "cpu": 0,
        "network": 0,
        "memory": 1,
        "disk": 1,
        "temperature": 1,
        "status": 2,
    }
    assert all(message.retain for message in found.values())
    assert found["status"].payload == b"gone"


def test_no_broker(start: Any) -> None:
    program = start("system_monitor.py", "--url", "mqtt://127.0.0.1:1")
    assert program.end() == 1
    assert program.said == (
        "cannot connect to mqtt://127.0.0.1:1: connection refused: nobody listens there; "
        "a broker is started with: curier broker\n"
    )


def test_a_machine_outlives_its_broker(tmp_path: Path, start: Any, client: Any) -> None:
    """It comes back when the broker does, and says that it is here again."""
    first = BrokerProcess(tmp_path / "one", memory=True)
    machine = start("system_monitor.py", "--url", url_of(first), "--name", "phoenix", "--interval", 0.1)
    machine.wait_for("publishing")
    first.stop()
    second = BrokerProcess(tmp_path / "two", "--listen", f"tcp://127.0.0.1:{first.port}", memory=True)
    try:
        witness = client(first.port)
        witness.subscribe(Subscription("monitor/phoenix/status", QoS(2)))
        assert witness.next().payload == b"here"
        machine.wait_for("(?s)publishing.*publishing")
        assert machine.end(signal.SIGINT) == 0
        said = witness.next().payload
        if said == b"here":  # once more, where the first broker had ended before it had acknowledged it
            said = witness.next().payload
        assert said == b"gone"
    finally:
        second.stop()
    assert "Traceback" not in machine.said


READING = re.compile(r"^(?:kept|sent) (.*)$", re.MULTILINE)


def test_a_sensor_that_loses_nothing(tmp_path: Path, start: Any, client: Any) -> None:
    """Killed without a broker, then with one under load: each reading it told of comes once, in order."""
    arguments = ["--outbox", tmp_path / "outbox", "--interval", 0.01]
    sensor = start("lossless_sensor.py", "--url", "mqtt://127.0.0.1:1", *arguments)
    sensor.wait_for("(?s)(kept.*){5}")
    sensor.end(signal.SIGKILL)
    told = READING.findall(sensor.said)
    broker = BrokerProcess(tmp_path / "broker")
    try:
        archive = client(broker.port)
        archive.subscribe(Subscription("sensor/attic", QoS(2)))
        for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT):
            sensor = start("lossless_sensor.py", "--url", url_of(broker), *arguments)
            sensor.wait_for("(?s)(sent.*){5}")
            code = sensor.end(number)
            told += READING.findall(sensor.said)
        assert code == 0
        start("lossless_sensor.py", "--url", url_of(broker), *arguments)  # has what the last one left
        came: list[str] = []
        while not came or came[-1] != told[-1]:
            came.append(archive.next().payload.decode())
        # A reading may have been kept, and its program killed before it could tell.
        assert [reading for reading in came if reading in told] == told
        assert len(set(came)) == len(came) <= len(told) + 3
    finally:
        broker.stop()


def test_the_outbox_of_a_sensor_is_its_own(tmp_path: Path, start: Any) -> None:
    arguments = ["--url", "mqtt://127.0.0.1:1", "--outbox", tmp_path / "outbox"]
    sensor = start("lossless_sensor.py", *arguments)
    sensor.wait_for("kept")
    second = start("lossless_sensor.py", *arguments)
    assert second.end() == 1
    assert "Traceback" not in second.said
    assert str(sensor.popen.pid) in second.said


def test_a_question_and_its_answer(broker: BrokerProcess, start: Any) -> None:
    url = url_of(broker)
    nobody = start("request_reply.py", "--url", url, "ask", 1, 2)
    assert nobody.end() == 1
    assert (
        nobody.said
        == "refused with Reason Code 0x10 (No matching subscribers): nobody subscribes to service/sum\n"
    )
    services = [start("request_reply.py", "--url", url, "serve") for _ in range(2)]
    for service in services:
        service.wait_for("serving service/sum")
    for numbers, said in ((("3", "4", "5"), "12\n"), (("1.5", "1"), "2.5\n"), (("x",), "numbers, please\n")):
        asking = start("request_reply.py", "--url", url, "ask", *numbers)
        assert asking.end() == 0
        assert asking.said == said
    for service in services:
        assert service.end(signal.SIGINT) == 0
        assert "Traceback" not in service.said


PYTHON = [
    pytest.param(text, id=f"{name}-{number}")
    for name in ("README.md", "docs/embedding.md")
    for number, text in enumerate(blocks((ROOT / name).read_text(), "python"))
]
PROGRAMS = [one for one in PYTHON if "print(" in str(one.values[0])]
HOOK_FILES = [one for one in PYTHON if one not in PROGRAMS]


@pytest.mark.parametrize("text", HOOK_FILES)
def test_hook_files_of_the_documentation(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hooks.py"
    path.write_text(text)
    assert read(str(path)).hooks


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs_of_the_documentation(broker: BrokerProcess, tmp_path: Path, text: str) -> None:
    require_peer("paho")
    path = tmp_path / "program.py"
    path.write_text(
        text.replace("port=1883", f"port={broker.port}").replace("mqtt://localhost", url_of(broker))
    )
    program = Program(sys.executable, "-W", "error", str(path))
    assert program.end() == 0, program.said
    assert program.said
    assert "Traceback" not in program.said
    promised = PROMISES.findall(text)
    assert not promised or program.said.splitlines() == promised


@pytest.mark.parametrize("family", [".venv/bin/curier ", "mosquitto_"])
def test_commands_of_the_readme(broker: BrokerProcess, family: str) -> None:
    """What subscribes hears what publishes."""
    text = "".join(blocks((ROOT / "README.md").read_text().split("## The client")[0], "sh"))
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith(family)]
    subscribe, publish = (
        [str(broker.port) if word == "1883" else word for word in command] for command in commands
    )
    if family != "mosquitto_":
        assert (subscribe[1], publish[1]) == ("sub", "pub")
        subscribe, publish = (
            [sys.executable, "-W", "error", "-m", "curier", *command[1:], "-p", str(broker.port)]
            for command in (subscribe, publish)
        )
    else:
        assert (subscribe[0], publish[0]) == ("mosquitto_sub", "mosquitto_pub")
        require_peer("mosquitto_sub")
        require_peer("mosquitto_pub")
    subscriber = Program(*subscribe, "-C", "1")
    until = time.monotonic() + TIMEOUT
    while subscriber.popen.poll() is None:  # it does not say when it has subscribed
        assert time.monotonic() < until
        subprocess.run(publish, check=True, timeout=TIMEOUT)
    assert subscriber.end() == 0
    assert subscriber.said == "greetings/world hello\n"


class TestTable:
    """What the watcher makes of messages, without a broker."""

    @pytest.fixture
    def monitor(self) -> Any:
        require_peer("psutil")
        spec = spec_from_file_location("system_monitor", ROOT / "examples" / "system_monitor.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_sizes(self, monitor: Any) -> None:
        assert monitor.size(0) == "0 B"
        assert monitor.size(3_500_000) == "3.3 MiB"
        assert monitor.size(2**60) == "1048576.0 TiB"

    @pytest.mark.parametrize(
        ("figure", "payload"),
        [
            ("cpu", b"much"),
            ("cpu", b"{}"),
            ("memory", b"[1]"),
            ("disk", b'{"used": "x", "total": 1}'),
            ("network", b"\xff"),
            ("temperature", b"warm"),
        ],
    )
    def test_payloads_that_make_no_sense(self, monitor: Any, figure: str, payload: bytes) -> None:
        table = monitor.Table()
        assert table.add(f"monitor/x/{figure}", payload, False).endswith(" ?")
        assert "?" in table.lines()[1]

    def test_what_is_none_of_ours(self, monitor: Any) -> None:
        table = monitor.Table()
        for topic in ("monitor", "monitor/x", "monitor/x/cpu/0", "monitor/x/fan"):
            assert table.add(topic, b"1", False) == ""
        assert table.lines() == ["  ".join(monitor.COLUMNS)]

    def test_a_terminal_obeys_nobody(self, monitor: Any) -> None:
        table = monitor.Table()
        table.add("monitor/\x1b[2J/status", b"\x07\x1b[31mhere", False)
        (line,) = table.lines()[1:]
        assert line.startswith("?[2J")
        assert "??[31mhere" in line

    def test_old_figures_do_not_say_when(self, monitor: Any) -> None:
        table = monitor.Table()
        table.add("monitor/a/status", b"gone", True)
        assert table.lines()[1].split() == ["a", "gone"]
        table.add("monitor/a/status", b"gone", False)
        assert table.lines()[1].split() == ["a", "gone,", "0", "s", "ago"]

    def test_the_hottest_sensor(self, monitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        sensors = {"cpu": [SimpleNamespace(current=41.04)], "disk": [SimpleNamespace(current=48.06)]}
        monkeypatch.setattr(monitor.psutil, "sensors_temperatures", lambda: sensors, raising=False)
        assert monitor.temperature() == 48.1
        monkeypatch.setattr(monitor.psutil, "sensors_temperatures", dict)
        assert monitor.temperature() == "n/a"
        monkeypatch.delattr(monitor.psutil, "sensors_temperatures")
        assert monitor.temperature() == "n/a"
