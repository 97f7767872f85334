"""What every test shares: Hypothesis profiles, the peers of the interop tests, and the header's one line."""

import gc
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sized
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from curier.broker.model import NO_GROUPS, NO_RECEIVERS, NO_ROUTES, NO_SENDS, NOTHING
from curier.loglines import bounds
from curier.protocol.connection import NO_HELD
from curier.session import incoming, outgoing
from curier.session.outgoing import NO_BURSTS, NO_ENTRIES
from tests.conformance.page import CITED, cited
from tests.waiting import (
    PROCESS_LIMIT,
    ProcessLimit,
    pytest_enter_pdb,
    pytest_runtest_makereport,
    pytest_runtest_teardown,
    pytest_sessionfinish,
    pytest_timeout_set_timer,
)

# Hooks: they end a test that hangs.
__all__ = [
    "pytest_enter_pdb",
    "pytest_runtest_makereport",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_timeout_set_timer",
]

# A slow machine is no error of a test: no deadline, no complaint about slow generation.
settings.register_profile(
    "default",
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# The two passes of `make test` have examples of their own: in CI, 200 in all. `make check` is a first look.
settings.register_profile("ci", parent=settings.get_profile("default"), max_examples=100)
settings.register_profile("quick", parent=settings.get_profile("default"), max_examples=20)
settings.register_profile("deep", parent=settings.get_profile("default"), max_examples=5000)
settings.load_profile(
    os.environ.get("CURIER_HYPOTHESIS", "ci" if os.environ.get("CI") == "true" else "default")
)

# Brokers of tests have no window, unless a test asks for one.
os.environ.setdefault("CURIER_WEB", "off")

INTEROP_JS = Path(__file__).parent / "interop" / "js"
SCHEMATHESIS = Path(__file__).parent.parent / "build" / "schemathesis" / "bin" / "schemathesis"


def peers_are_required() -> bool:
    """In CI, or where CURIER_REQUIRE_PEERS=1, a missing peer is a failure and not a reason to skip."""
    return os.environ.get("CURIER_REQUIRE_PEERS") == "1" or os.environ.get("CI") == "true"


def find_peer(name: str) -> str | None:
    """Where the peer `name` is: a program on PATH, a Python package, or "mqttjs"; None if it is missing."""
    if name == "mqttjs":
        installed = INTEROP_JS / "node_modules" / "mqtt"
        return str(installed) if installed.is_dir() and shutil.which("node") else None
    if name == "aedes":
        installed = INTEROP_JS / "node_modules" / "aedes"
        return str(installed) if installed.is_dir() and shutil.which("node") else None
    if name == "schemathesis":  # apart: its packages would be in the way of others
        return str(SCHEMATHESIS) if SCHEMATHESIS.exists() else shutil.which(name)
    # Debian puts mosquitto in /usr/sbin, which is not on everybody's PATH.
    beside = os.path.dirname(sys.executable)  # as nats-server is, which a package brings
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", beside])
    if program := shutil.which(name, path=path):
        return program
    spec = find_spec(name) if name.replace(".", "").isidentifier() else None
    return spec.origin if spec is not None else None


def require_peer(name: str) -> str:
    """Return where the peer is, for interop tests: `require_peer("mosquitto")`, `("mqttjs")`, `("gmqtt")`.

    A missing peer skips the test on a developer's machine and fails it where peers are required.
    """
    found = find_peer(name)
    if found is not None:
        return found
    reason = f"the peer {name!r} is not installed here"
    if peers_are_required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_report_header() -> str:
    """Name the curier under test: the installed one or the sources, compiled or interpreted."""
    import curier

    form = "compiled" if curier.COMPILED else "interpreted"
    return f"curier: {form}, from {Path(curier.__path__[0])}"


def pytest_configure(config: pytest.Config) -> None:
    """Have a test that does not end even after its time (it may be cleaning up) end with its process.

    And let Ctrl-C and the end of a terminal reach the programs that tests start.

    A shell without a terminal starts what it puts into the background with SIGINT ignored, nohup what it
    starts with SIGHUP, and programs inherit that; one that has a handler here has the default there.
    """
    config.stash[PROCESS_LIMIT] = ProcessLimit()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)  # which ignores it here as well


SLOW = (
    "net",
    "simulation",
    "conformance",
    "acme",
    "auth/test_hash_process.py",
    "broker/test_long_queues.py",
    "broker/test_many_at_once.py",
    "broker/test_many_subscriptions.py",
    "broker/test_spreading.py",
    "cluster/test_random.py",
    "jetstream",
    "permissions/test_worlds.py",
    "store/test_clock.py",
    "store/test_missing.py",
    "store/test_sqlite.py",
    "store/test_world.py",
    "store/test_trouble.py",
    "cli/test_bench",
    "cli/test_broker_process.py",
    "cli/test_client_processes.py",
    "cli/test_pub_sub.py",
    "cli/test_rr.py",
    "cli/test_manager.py",
    "cli/test_running.py",
    "cli/test_signals.py",
    "cli/test_start.py",
    "cli/test_store.py",
    "cli/test_tls",
    "cli/test_admin.py",
    "cli/test_streams.py",
    "cli/test_trace",
    "cli/test_window.py",
    "client",
    "loadgen/test_process.py",
    "proxy",
    "test_home_assistant.py",
    "test_light_install.py",
    "testing/test_page.py",
    "testing/test_plugin.py",
    "web",
)
"""What opens sockets, starts processes, or has thousands of clients or messages: for `make test` alone."""

ONCE = (
    *(
        "acme",
        "bridge",
        "cli",
        "cluster",
        "conformance",
        "hook_files",
        "jetstream",
        "permissions/test_dynamic_security.py",
    ),
    *("top", "verify", "web", "test_client_pages.py", "test_config", "test_docs.py", "test_examples.py"),
    *("test_home_assistant.py", "test_layers.py", "test_light_install.py", "test_mosquitto_conf.py"),
    *("test_waiting.py", "test_webhooks.py", "testing/test_page.py", "testing/test_plugin.py"),
    *("auth/test_calls.py", "auth/test_hash_process.py", "auth/test_jwks.py", "auth/test_sql.py"),
    *("auth/test_user_file.py", "client/test_dial", "loadgen/test_process.py"),
    *("store/test_clock.py", "store/test_missing.py"),
)
"""What has no part in compiled modules and is long: a second pass of `make test` would see the same again."""

TWICE = (
    "cli/test_pub_sub.py",
    "cli/test_rr.py",
    "web/test_clients.py",
    "web/test_mqtt.py",
    "web/test_wire.py",
)
"""Of those, what shows the two forms of the core to who uses it."""


def is_seen_once(place: str) -> bool:
    """Whether a file is for the first pass alone; ``place`` is its path below ``tests``."""
    return place.startswith(ONCE) and not place.startswith(TWICE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what `make check` and the second pass leave out: that takes each process seconds."""
    without = config.getoption("markexpr")
    place = collection_path.relative_to(Path(__file__).parent).as_posix()
    if "not slow" in without:
        return place.startswith((*SLOW, "crash", "interop")) or None
    if "not once" in without:
        return place.startswith("interop") or (collection_path.is_file() and is_seen_once(place)) or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark whole folders and files; note what is cited, before those go that are not to run."""
    config.stash[CITED] = cited(items)
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix()
        if place.startswith("interop/"):
            item.add_marker(pytest.mark.interop)
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if is_seen_once(place):
            item.add_marker(pytest.mark.once)


def pytest_collection_finish() -> None:
    """Let who looks for garbage, as tests of open files do, pass by the tests: a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def leave_the_home_directory_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have a broker running, and profiles of their own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        yield


@pytest.fixture(autouse=True)
def the_log_begins_anew() -> Iterator[None]:
    """Lines of one kind are bounded: those of other tests count no more, nor does the level one has set."""
    bounds.clear()
    loggers = [logging.getLogger(name) for name in (None, "curier", "curier.client")]
    levels = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


@pytest.fixture(autouse=True)
def shared_empties_stay_empty() -> Iterator[None]:
    """Sessions that rest share their empty containers: what one of them put there, all would have."""
    yield
    shared: list[Sized] = [NO_ENTRIES, NO_BURSTS, outgoing.NO_IDS, incoming.NO_IDS, NO_HELD, NO_SENDS]
    shared += [NO_RECEIVERS, NO_GROUPS, NO_ROUTES, NOTHING]
    filled = [len(one) for one in shared]
    if any(filled):
        pytest.exit(f"a container that all sessions share is not empty: {filled}", returncode=1)
