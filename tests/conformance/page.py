"""Which tests pin which normative statement: collected from the tests' marks, written as a page.

`make conformance` runs this file; pytest loads it as a plugin, to ask its collection for the marks:
`@pytest.mark.statement("5.0/MQTT-3.1.2-3", "3.1.1/MQTT-3.1.2-3")`.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "conformance.md"
STATEMENTS = Path(__file__).parent / "statements.toml"
VERSIONS = ("3.1.1", "5.0")
PLUGIN = "tests.conformance.page"
ANSWER = "CURIER_STATEMENTS_FILE"  # where the collecting pytest leaves what it found

HEAD = """# Conformance

Every normative statement of MQTT 3.1.1 and 5.0, what it asks in a few words, and the tests that hold curier
to it. The words are ours; the specification's own text is what counts. Tests of `tests/broker` and
`tests/v311` meet the broker plainly, and behind TLS, WebSocket or the PROXY protocol
([how](architecture.md#tests)). Written by `make conformance` from the marks of the tests; the suite fails
when a statement has neither a test nor a reason, or this page is out of date.
"""


class Statements:
    """The statements by full id, as "5.0/MQTT-3.1.2-3": what each asks, and why some do not apply."""

    def __init__(self) -> None:
        table = tomllib.loads(STATEMENTS.read_text())
        self.asked: dict[str, str] = {
            f"{version}/{number}": words for version in VERSIONS for number, words in table[version].items()
        }
        self.reasons: dict[str, str] = {
            f"{version}/{number}": why
            for version in VERSIONS
            for number, why in table["not_applicable"].get(version, {}).items()
        }


CITED = pytest.StashKey[dict[str, list[str]]]()
"""What the tests cite that this pytest has collected, those included that it does not run."""


def cited(items: list[pytest.Item]) -> dict[str, list[str]]:
    """Return every cited statement with the tests that cite it, without their parameters."""
    tests: defaultdict[str, set[str]] = defaultdict(set)
    for item in items:
        for mark in item.iter_markers("statement"):
            for statement in mark.args:
                tests[statement].add(item.nodeid.partition("[")[0])
    return {name: sorted(found) for name, found in tests.items()}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what is cited for whoever has started this pytest."""
    Path(os.environ[ANSWER]).write_text(json.dumps(cited(session.items)))


def is_whole(config: pytest.Config) -> bool:
    """Has this pytest collected all tests?"""
    asked = {config.invocation_params.dir / argument for argument in config.args}
    few = ("ignore", "ignore_glob", "lf")
    return asked <= {ROOT, ROOT / "tests"} and not any(config.getoption(name, None) for name in few)


def collect(answer: Path, tests: str = "tests") -> dict[str, list[str]]:
    """Return the tests that cite each statement, by way of a pytest that only collects."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-qq",
        "-p",
        "no:cacheprovider",
        "-p",
        PLUGIN,
    ]
    done = subprocess.run(
        [*command, "--rootdir", str(ROOT), "-c", "pyproject.toml", tests],
        cwd=ROOT,
        env={**os.environ, ANSWER: str(answer)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"collecting the tests failed:\n{done.stdout}")
    found: dict[str, list[str]] = json.loads(answer.read_text())
    return found


def render(statements: Statements, tests: dict[str, list[str]]) -> str:
    """Return the page: a table for each version, a row for each statement."""
    lines = [HEAD]
    for version in VERSIONS:
        names = [name for name in statements.asked if name.startswith(f"{version}/")]
        tested = sum(name in tests for name in names)
        lines += [
            f"## MQTT {version}",
            "",
            f"{len(names)} statements, {tested} of them pinned by tests.",
            "",
            "| statement | asks | tests |",
            "| --- | --- | --- |",
        ]
        for name in names:
            cited = "<br>".join(f"`{test}`" for test in tests.get(name, []))
            why = statements.reasons.get(name, "**none yet**")
            lines.append(f"| {name.partition('/')[2]} | {statements.asked[name]} | {cited or why} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the page and tell how many statements are open."""
    statements = Statements()
    with tempfile.TemporaryDirectory() as folder:
        tests = collect(Path(folder, "statements.json"))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(statements, tests))
    unanswered = [name for name in statements.asked if name not in tests and name not in statements.reasons]
    print(f"docs/conformance.md: {len(statements.asked)} statements, {len(unanswered)} open")


if __name__ == "__main__":
    main()
