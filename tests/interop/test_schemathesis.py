"""schemathesis asks the API whatever its description allows, and much that it does not: each answer is one
that the description names, and none is an error of the broker.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import curier
from curier.laboratory import Laboratory
from curier.testing import Faults
from curier.web import guard
from curier.web.roles import Role
from curier.web.server import Web
from curier.web.tokens import add_token
from tests.conftest import require_peer

SECONDS = 240.0
LEFT_OUT = ("/events", "/fate", "/backup")
"""The first never ends, the second takes its time where that is asked for, the third copies files."""

CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 429, 431]
"""

OPTIONS = (
    *("--mode", "all", "--phases", "coverage,fuzzing", "--max-examples", "3", "--generation-deterministic"),
    # What rules of MQTT, or of this language, forbid in a text, no schema says.
    *("--exclude-checks", "positive_data_acceptance"),
    *("--suppress-health-check", "all", "--no-color"),
)


async def test_the_api_is_what_its_description_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = require_peer("schemathesis")
    monkeypatch.setattr(guard, "REQUESTS_PER_SECOND", 1_000_000)
    broker = curier.Broker(listen=["tcp://127.0.0.1:0"], data=tmp_path / "data")
    broker.lab = Laboratory(Faults())
    tokens = tmp_path / "tokens"
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    header = f"Authorization: Bearer {add_token(tokens, 'schemathesis', Role.ADMIN)}"
    async with broker, Web(broker, "http://127.0.0.1:0", tokens=tokens) as web:
        api = f"{web.urls[0]}/api/v1"
        left_out = [word for path in LEFT_OUT for word in ("--exclude-path", path)]
        command = [program, "run", f"{api}/openapi.json", "--url", api, "-H", header, *OPTIONS, *left_out]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(SECONDS):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    lines = [line[:300] for line in said.decode(errors="replace").splitlines()]
    assert process.returncode == 0, "\n".join(lines)
    assert any(" generated, " in line for line in lines), "it has asked nothing"
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
