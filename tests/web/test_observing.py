"""The dashboard and the alerts name metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from curier.cli import main
from curier.web import observing
from curier.web.metrics import METRICS
from tests.conftest import require_peer

NAMES = {one.name for one in METRICS}


def named(text: str) -> set[str]:
    return {*re.findall(r"\b(?:curier|process)_[a-z_]+", text)}


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    made = json.loads(CliRunner().invoke(main, ["metrics", "dashboard"]).output)
    expressions = [target["expr"] for panel in made["panels"] for target in panel["targets"]]
    for expression in expressions:
        assert named(expression), expression
        assert named(expression) <= NAMES
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    assert len({*places}) == len(places)
    assert len({panel["id"] for panel in made["panels"]}) == len(places)


def test_counters_are_shown_as_rates_and_gauges_are_not() -> None:
    counters = {one.name for one in METRICS if one.kind == "counter"}
    for panel in observing.PANELS:
        for expression, _ in panel.queries:
            assert ("rate(" in expression) == bool(named(expression) & counters), expression


def test_alerts_are_about_metrics_that_there_are() -> None:
    for rule in observing.RULES:
        assert named(rule.expression) <= NAMES
        assert rule.severity in ("warning", "critical")


@pytest.mark.interop
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "curier.rules.yml"
    promtool = require_peer("promtool")
    path.write_text(CliRunner().invoke(main, ["metrics", "rules"]).output)
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(observing.RULES)} rules found" in done.stdout
