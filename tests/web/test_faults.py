"""Rules of a laboratory, listed, added and removed while it runs; and refused where it is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import curier
from curier.laboratory import Laboratory
from curier.server import Broker
from curier.testing import Faults
from curier.web import forms, table
from curier.web.fault_forms import NewFault, NoFault
from curier.web.faults import MOST_RULES
from tests.waiting import until
from tests.web.asking import people
from tests.web.nasty import CLIENT_IDS
from tests.web.test_clients import serving


async def test_what_is_no_laboratory_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, admin, _):
        for operation, asked in (
            (table.FAULTS, forms.Nothing()),
            (table.ADD_FAULT, NewFault("lose 1st PUBACK")),
            (table.REMOVE_FAULT, NoFault()),
        ):
            assert "--lab" in await admin.refused(operation, asked, 409)


async def test_rules_come_act_and_go_while_clients_are_there(tmp_path: Path) -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    broker.lab = Laboratory(Faults("lose 1st PUBACK to nobody"))
    async with broker, people(broker, tmp_path) as by:
        admin = by["admin"]
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="me") as me:
            made = await admin.ask(table.ADD_FAULT, NewFault("  lose  1st PUBACK to me "))
            assert (made.number, made.rule, made.fired) == (2, "lose 1st PUBACK to me", 0)
            publishing = asyncio.create_task(me.publish("a", b"x", qos=1))
            faults = broker.lab.faults
            await until(lambda: bool(faults.fired))
            found = await admin.ask(table.FAULTS, forms.Nothing())
            assert [(one.number, one.fired) for one in found.rules] == [(1, 0), (2, 1)]
            assert (found.told[0].client_id, "lost" in found.told[0].what) == ("me", True)
            assert not publishing.done()
            publishing.cancel()
            done = await admin.ask(table.REMOVE_FAULT, NoFault(2))
            assert done.done == "rules removed: 1, left: 1"
            await me.publish("a", b"y", qos=1)
        await admin.refused(table.REMOVE_FAULT, NoFault(2), 404)
        await admin.ask(table.REMOVE_FAULT, NoFault())
        assert (await admin.ask(table.FAULTS, forms.Nothing())).rules == []


async def test_rules_that_cannot_be_are_refused(tmp_path: Path) -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    broker.lab = Laboratory(Faults())
    async with broker, people(broker, tmp_path) as by:
        for rule in ("", "loose PUBACK", "lose PUBACK at 0%", "x" * 1001, '"', "delay PUBACK by 0s"):
            assert await by["admin"].refused(table.ADD_FAULT, NewFault(rule), 400)
        await by["operator"].refused(table.ADD_FAULT, NewFault("lose PUBACK"), 403)
        await by["viewer"].ask(table.FAULTS, forms.Nothing())
        assert broker.lab.faults.rules == []


async def test_there_is_an_end_to_rules_and_names_may_be_anything(tmp_path: Path) -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    broker.lab = Laboratory(Faults(*["lose 1st PUBACK"] * (MOST_RULES - 1)))
    async with broker, people(broker, tmp_path) as by:
        admin = by["admin"]
        for name in CLIENT_IDS:
            if len(name) > 900 or '"' in name:
                continue
            made = await admin.ask(table.ADD_FAULT, NewFault(f'lose 1st PUBACK to "{name}"'))
            await admin.refused(table.ADD_FAULT, NewFault("lose 1st PUBACK"), 409)
            assert broker.lab.faults.rules[-1].client_id == name
            await admin.ask(table.REMOVE_FAULT, NoFault(made.number))
