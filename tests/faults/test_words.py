"""Rules as people write them: what they mean, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curier.errors import ConfigError
from curier.faults.rules import PACKET_TYPES, TO_CLIENT, TO_SERVER, Rule
from curier.faults.tables import read_rules
from curier.faults.words import parse_rule

PUBLISH, PUBACK, PUBREC, PUBREL = (PACKET_TYPES[name] for name in ("PUBLISH", "PUBACK", "PUBREC", "PUBREL"))

MEANINGS: list[tuple[str, dict[str, Any]]] = [
    (
        "lose 2nd PUBACK to dash-1",
        {"action": "lose", "packet": PUBACK, "nth": 2, "direction": TO_CLIENT, "client_id": "dash-1"},
    ),
    ("lose puback", {"action": "lose", "packet": PUBACK}),
    ("lose every 3rd packet", {"action": "lose", "every": 3}),
    (
        "lose first PUBLISH of each connection",
        {"action": "lose", "packet": PUBLISH, "nth": 1, "per_connection": True},
    ),
    ("delay PUBREC by 2s", {"action": "delay", "packet": PUBREC, "seconds": 2.0}),
    ("delay packets to client by 500 ms", {"action": "delay", "direction": TO_CLIENT, "seconds": 0.5}),
    ("double PUBLISH id 7", {"action": "double", "packet": PUBLISH, "identifier": 7}),
    (
        "reorder PUBLISH qos 1 on a/+/b within 3s",
        {"action": "reorder", "packet": PUBLISH, "qos": 1, "topic": "a/+/b", "seconds": 3.0},
    ),
    ("cut after PUBREL", {"action": "cut after", "packet": PUBREL}),
    (
        "cut before 3rd PUBREL from x",
        {"action": "cut before", "packet": PUBREL, "nth": 3, "direction": TO_SERVER, "client_id": "x"},
    ),
    ("cut after 10s of x", {"action": "cut after", "by_clock": True, "after": 10.0, "client_id": "x"}),
    (
        "stop reading after PUBLISH from x for 2min",
        {
            "action": "stop reading",
            "packet": PUBLISH,
            "direction": TO_SERVER,
            "client_id": "x",
            "seconds": 120.0,
        },
    ),
    (
        "stop reading from x",
        {"action": "stop reading", "direction": TO_SERVER, "client_id": "x", "by_clock": True},
    ),
    (
        "stop reading from broker after 1s",
        {"action": "stop reading", "direction": TO_CLIENT, "by_clock": True, "after": 1.0},
    ),
    ("flip a bit of PUBLISH", {"action": "flip", "packet": PUBLISH}),
    ("flip bit 12 of PUBLISH once", {"action": "flip", "packet": PUBLISH, "bit": 12, "times": 1}),
    ("answer PUBLISH with 0x97", {"action": "answer", "packet": PUBLISH, "reason_code": 0x97}),
    (
        "lose PUBLISH to 'a b' at 12.5% after 1s until 1h 4 times",
        {
            "action": "lose",
            "packet": PUBLISH,
            "direction": TO_CLIENT,
            "client_id": "a b",
            "chance": 0.125,
            "after": 1.0,
            "until": 3600.0,
            "times": 4,
        },
    ),
    (
        'lose PUBLISH to "broker"',
        {"action": "lose", "packet": PUBLISH, "direction": TO_CLIENT, "client_id": "broker"},
    ),
    ("lose packet of x", {"action": "lose", "client_id": "x"}),
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_words_mean_a_rule(text: str, meaning: dict[str, Any]) -> None:
    assert parse_rule(text) == Rule(text=text, **meaning)


WRONG: list[tuple[str, str]] = [
    ("", "a rule is missing"),
    ("loose PUBACK", "'loose' is not known here; did you mean 'lose'?"),
    ("lose PUBAK", "'PUBAK' is not known here; did you mean 'PUBACK'?"),
    ("lose", "it ends where the name of a packet has to follow"),
    ("lose 2nd", "it ends where the name of a packet has to follow"),
    ("lose PUBACK too dash", "'too' is not known here; did you mean 'to'?"),
    ("lose PUBACK to", "it ends where a Client Identifier behind 'to' has to follow"),
    ("lose PUBACK to a to b", "'b': that was said already"),
    ("lose PUBACK to 'a b", "a quotation mark is not closed"),
    ("lose PUBACK on a/b", "PUBACK has no topic: only PUBLISH has"),
    ("lose PUBLISH on a/#/b", "a/#/b"),
    ("lose CONNECT to x", "CONNECT goes from clients to the broker only"),
    ("lose SUBACK from x", "SUBACK goes from the broker to clients only"),
    ("lose PINGREQ id 3", "PINGREQ has no Packet Identifier"),
    ("lose PUBLISH id 0", "'0': id takes a number from 1 to 65535"),
    ("lose PUBLISH id ²", "'²': id takes a number from 1 to 65535"),
    ("lose PUBLISH qos 3", "'3': qos takes a number from 0 to 2"),
    ("lose PUBLISH at 0%", "a chance is above 0"),
    ("lose PUBLISH at half", "a chance is a percentage"),
    ("lose PUBLISH after 5s until 5s", "its time ends (5 s) before it begins (5 s)"),
    ("lose PUBLISH by 2s", "'by' belongs to 'delay'"),
    ("delay PUBLISH", "say how long"),
    ("delay PUBLISH by 2", "by takes a time with its unit"),
    ("answer PUBLISH", "say with which Reason Code"),
    ("answer PUBACK with 0x97", "only these have an answer with a Reason Code: CONNECT"),
    ("answer PUBLISH qos 0 with 0x97", "nothing answers a PUBLISH of QoS 0"),
    ("answer PUBLISH with 0x8D", "PUBACK, which answers it, may not carry 0x8D"),
    ("answer PUBLISH with 151", "a Reason Code is written as 0x97"),
    ("cut PUBLISH", "'PUBLISH' is not known here; expected one of: before, after"),
    ("stop PUBLISH", "'PUBLISH' is not known here"),
    ("flip PUBLISH", "'PUBLISH' is not known here"),
]


@pytest.mark.parametrize(("text", "why"), WRONG, ids=[text for text, _ in WRONG])
def test_an_error_names_the_word_and_what_could_stand_there(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(text)
    assert why in str(caught.value)
    assert text in str(caught.value)


def test_a_file_has_rules_and_a_seed_and_its_errors_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text('seed = 7\nrules = [\n  "lose PUBACK",\n  "double PUBLISH id 7",\n]\n')
    rules, seed = read_rules(file)
    assert (rules, seed) == ([parse_rule("lose PUBACK"), parse_rule("double PUBLISH id 7")], 7)
    file.write_text('\nrules = ["lose PUBAK"]\n')
    with pytest.raises(ConfigError, match=r"faults\.toml, line 2: rules: lose PUBAK: 'PUBAK' .*PUBACK"):
        read_rules(file)
    file.write_text('rule = ["lose PUBACK"]\n')
    with pytest.raises(ConfigError, match="did you mean rules"):
        read_rules(file)
    file.write_text("rules = 3\n")
    with pytest.raises(ConfigError, match="expected a list of rules"):
        read_rules(file)
