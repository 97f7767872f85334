"""Every operation is asked with values of all kinds: each answer is a right one, or a problem in words."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from curier.server import Broker
from curier.web import guard
from curier.web.table import OPERATIONS, PREFIX
from tests.web.asking import people

TEXTS = ("", "\x00", "a/#")
WRONG: tuple[Any, ...] = (None, -1, {"x": 1})


async def test_no_value_is_more_than_an_operation_can_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "REQUESTS_PER_SECOND", 100_000)  # a 429 would hide what is behind it
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    async with broker, people(broker, tmp_path) as by:
        client, headers = by["admin"]._client, by["admin"]._headers
        caplog.set_level(logging.ERROR)
        for one in OPERATIONS:
            fields = msgspec.structs.fields(one.asked)
            needed: dict[str, Any] = {field.name: "x" for field in fields if field.required}
            for field in fields:
                values = WRONG if field.type in (int, float, bool) else (*WRONG, *TEXTS)
                for value in values:
                    given = {**needed, field.name: value}
                    if one.method == "GET":
                        query = {name: str(each) for name, each in given.items() if each is not None}
                        answer = await client.get(PREFIX + one.path, params=query, headers=headers)
                    else:
                        answer = await client.post(PREFIX + one.path, json=given, headers=headers)
                    assert answer.status_code in (200, 400, 403, 404, 409), (
                        one.path,
                        given,
                        answer.text,
                    )
                    assert answer.status_code == 200 or answer.json()["detail"]
    assert caplog.messages == []
