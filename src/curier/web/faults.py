"""Operations on the laboratory: rules that break the broker's own connections, where it was begun so."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from curier.errors import ConfigError
from curier.web import forms, table
from curier.web.fault_forms import FaultRule, FaultRules, FaultTold, NewFault, NoFault
from curier.web.handling import handles
from curier.web.problems import Problem
from curier.web.scene import Scene
from curier.web.tokens import Known

if TYPE_CHECKING:
    from curier.faults.line import Faults, Kept

MOST_RULES: Final = 100
MOST_TOLD: Final = 100


def _faults(scene: Scene) -> Faults:
    """Its rules. Raises ``Problem`` where it is no laboratory."""
    if scene.broker.lab is None:
        raise Problem(
            409,
            "this broker breaks nothing on purpose: start another one with --lab FILE, which may be a file "
            "without rules. It keeps no promise to its clients then, and is for tests alone",
        )
    return scene.broker.lab.faults


def _row(kept: Kept) -> FaultRule:
    return FaultRule(kept.number, str(kept.rule), kept.added, kept.fired)


@handles(table.FAULTS)
async def rules(scene: Scene, asked: forms.Nothing, who: Known) -> FaultRules:
    """All rules."""
    faults = _faults(scene)
    told = [FaultTold(one.time, one.client_id, one.why) for one in islice(reversed(faults.fired), MOST_TOLD)]
    return FaultRules([_row(kept) for kept in faults.kept], told)


@handles(table.ADD_FAULT)
async def add(scene: Scene, asked: NewFault, who: Known) -> FaultRule:
    """Add a rule, for connections that are open as well."""
    faults = _faults(scene)
    if len(faults.kept) >= MOST_RULES:
        raise Problem(409, f"there are {MOST_RULES} rules, and there may not be more: remove some of them")
    try:
        faults.add(asked.rule)
    except ConfigError as error:
        raise Problem(400, f"rule: {error}") from None
    made = _row(faults.kept[-1])
    scene.audit(who, "fault.add", rule=made.rule)
    return made


@handles(table.REMOVE_FAULT)
async def remove(scene: Scene, asked: NoFault, who: Known) -> forms.Done:
    """Remove a rule, or all of them."""
    faults = _faults(scene)
    gone = [kept for kept in faults.kept if asked.number in (0, kept.number)]
    if asked.number and not gone:
        raise Problem(404, f"number: there is no rule {asked.number}")
    for kept in gone:
        scene.audit(who, "fault.remove", rule=str(kept.rule))
    faults.remove(*gone)
    return forms.Done(f"rules removed: {len(gone)}, left: {len(faults.kept)}")
