"""``curier verify`` against another broker, which acknowledges before it has written anything."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from curier.cli import main
from tests.conftest import require_peer


def test_mosquitto_without_persistence_is_refuted(tmp_path: Path) -> None:
    config = tmp_path / "mosquitto.conf"
    config.write_text("allow_anonymous true\n")
    command = f"{require_peer('mosquitto')} -c {config} -p {{port}}"
    words = ["verify", "--dir", str(tmp_path), "--command", command, "--rounds", "3", "--json"]
    result = CliRunner().invoke(main, words)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["verdict"]) == (1, "refuted"), result.stdout
    assert told["kills"] == 3
    assert told["acknowledged"] > 20
    # Three senders, three receivers, whoever sees the wills, and the visitors: each kill ends their sessions.
    assert told["counts"]["session lost"] >= 5
    assert told["wills_not_published"] == told["sessions"]
    assert told["not_judged"] == ""
