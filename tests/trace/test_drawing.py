"""Drawings of what is not in a text book: many subscribers, long flows, nasty names, narrow terminals."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from curier.testing import Faults, Pair
from curier.trace.drawing.as_json import diagram_json, flow_json
from curier.trace.drawing.cells import cut, width_of, wrap
from curier.trace.drawing.diagram import LOST, Arrow, Diagram, Fold, Lane
from curier.trace.drawing.layout import lay_out, least_width
from curier.trace.drawing.making import View, diagram
from curier.trace.drawing.mermaid import mermaid
from curier.trace.drawing.svg import svg
from curier.trace.drawing.text import FROM_SERVER, TO_SERVER, TROUBLE, text
from curier.trace.events import DROPPED, QUEUED, STORED, Packet
from curier.trace.flows import DONE, Publication
from curier.trace.joining import Joiner
from tests.trace.seen import Seen

UTC = View(utc=True)

NASTY = [
    *("/", "//", "a//b", " a ", "..", "a%2Fb", "$SYS/x", "a;b:c,d", "#", "+", "", "end", "x" * 1000),
    *("\u202eabc", "שלום hello", "👨‍👩‍👧‍👦", "⚠️", "e\u0301\u0301", "\x1b[31mred", "\x9b31m"),
    *(
        "\ufffe",
        "<img src=x onerror=alert(1)>",
        "=1+1",
        "温度",
        "a\nb",
        "]]>",
        "&amp;",
        '"',
        "`",
        "%%{init}%%",
    ),
]


def fan_out(subscribers: int) -> Publication:
    """A real message to so many; the last of them does not acknowledge."""
    pair = Pair(latency=0.001)
    gateway = pair.connect("gateway")
    for number in range(subscribers):
        last = number == subscribers - 1
        pair.connect(f"dash-{number}", manual_acks=last).subscribe("t", qos=1)
    seen = Seen(pair)
    gateway.publish("t", b"x", qos=1)
    pair.run(1)
    (publication,) = seen.joined().publications
    return publication


@pytest.fixture(scope="module")
def hundred() -> Publication:
    return fan_out(100)


ONE = fan_out(1)


def named(topic: str, client: str) -> Publication:
    publication = Publication(1, 1.7e9)
    publication.topic, publication.payload, publication.payload_size = (
        topic,
        topic.encode(),
        len(topic.encode()),
    )
    flow = copy.deepcopy(ONE)
    for leg in flow.legs():
        leg.client_id = client if leg is flow.incoming else f"{client}2"
    publication.incoming, publication.publisher, publication.deliveries = (
        flow.incoming,
        client,
        flow.deliveries,
    )
    for step in flow.steps:
        publication.add(step, 0)
    return publication


def test_a_hundred_subscribers_are_one_lane_with_a_count(hundred: Publication) -> None:
    made = diagram(hundred, UTC)
    assert [lane.name for lane in made.lanes] == [
        "gateway",
        "broker",
        "dash-0",
        "dash-99",
        "98 more subscribers",
    ]
    assert made.lanes[-1].count == 98
    arrows = [(row.label, row.count) for row in made.rows if isinstance(row, Arrow) and row.count > 1]
    assert arrows == [("PUBLISH q1", 98), ("PUBACK", 98)]
    assert "waits on dash-99: PUBACK #1 (since 22:13:20.403)" in made.below
    assert max(map(width_of, text(made, 80))) <= 80
    narrow = text(diagram(hundred, View(receivers=2)), 80)
    assert any("PUBLISH q1 ×99" in line for line in narrow)


def test_it_is_opened_on_demand(hundred: Publication) -> None:
    made = diagram(hundred, View(receivers=0, rows=0))
    assert len(made.lanes) == 102
    assert sum(isinstance(row, Arrow) for row in made.rows) == 2 + 100 + 99


def test_long_flows_fold_in_their_middle(hundred: Publication) -> None:
    made = diagram(hundred, View(receivers=0, rows=20))
    assert len(made.rows) == 20
    (fold,) = (row for row in made.rows if isinstance(row, Fold))
    assert fold.count == 201 - 19
    assert any("… 182 more rows" in line for line in text(made))
    assert (
        diagram(hundred, View(receivers=0, rows=201)).rows == diagram(hundred, View(receivers=0, rows=0)).rows
    )


def test_steps_that_were_not_kept_are_a_fold_as_well() -> None:
    flow = fan_out(1)
    steps = list(flow.steps)
    flow.most_steps = 4
    for _ in range(5):
        flow.add(steps[-1], 0)
    assert any(isinstance(row, Fold) and row.count == flow.left_out for row in diagram(flow).rows)


def test_what_waits_is_dotted_what_is_dropped_has_a_cross() -> None:
    pair = Pair(latency=0.001)
    gateway = pair.connect("gateway-7")
    seen = Seen(pair)
    gateway.publish("site/7/temp", b"21.5", qos=1)
    seen.happened(QUEUED, "archive", "away since 11:58, 17 wait", 5)
    seen.happened(DROPPED, "full", "its queue is full", 5)
    pair.run(0.0005)
    seen.happened(STORED, "", "", 5)
    pair.run(1)
    assert isinstance(seen.events[0], Packet)
    seen.events[0] = replace(seen.events[0], publication=5)
    (flow,) = seen.joined().publications
    assert "\n".join(text(diagram(flow, UTC), 100)) + "\n" == WAITING


WAITING = """\
site/7/temp  QoS 1, 4 B

 gateway-7 (5.0)              broker                                archive (away)   full
  │ PUBLISH q1 #1  site/7/temp │                                     ┆                ┆
  │───────────────────────────▶│ 22:13:20.002  "21.5"                ┆                ┆
  │                            │ waits: away since 11:58, 17 wait    ┆                ┆
  │                            │┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄▶┆ +0.0 ms        ┆
  │                            │ dropped: its queue is full          ┆                ┆
  │                            │───────────────────────────────────✗ ┆                ┆ +0.0 ms
  │                            │ • waited for the disk  +0.5 ms      ┆                ┆
  │                  PUBACK #1 │                                     ┆                ┆
  │◀───────────────────────────│ +1.0 ms  0x10 (No matching          ┆                ┆
  │                            │ subscribers)                        ┆                ┆
  │                            │                                     ┆                ┆
waits on archive: away since 11:58, 17 wait (since 22:13:20.002)
"""


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_move_nothing(name: str) -> None:
    made = diagram(named(name or "t", name or "c"), UTC)
    for width in (40, 80, 200):
        lines = text(made, width)
        assert max(map(width_of, lines)) <= max(width, least_width(made))
        assert all(line.isprintable() for line in lines)
        columns = lay_out(made, width).columns
        for line in lines:
            if line.startswith("  │"):  # no wide character lies over a lane
                assert width_of(cut(line, columns[1] + 1)) == columns[1] + 1
        lines = text(made, width, ascii_only=True)
        assert max(map(len, lines)) <= max(width, least_width(made))
        assert all(line.isascii() and line.isprintable() for line in lines)


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_are_texts_in_svg(name: str) -> None:
    document = svg(diagram(named(name or "t", name or "c"), UTC))
    root = ElementTree.fromstring(document)
    tags = {element.tag.split("}")[1] for element in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "g", "line", "path", "text"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not names & {"href", "style", "onload"}
    assert not any(name.startswith("on") for name in names)
    assert not re.search(r"url\(|@import|http", document.replace("http://www.w3.org/2000/svg", ""))


def test_svg_follows_light_and_dark() -> None:
    document = svg(diagram(fan_out(2), UTC))
    assert "@media (prefers-color-scheme: dark)" in document
    assert 'class="arrow to-server solid"' in document
    assert 'class="arrow from-server solid"' in document


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_are_texts_in_mermaid(name: str) -> None:
    lines = mermaid(diagram(named(name or "t", name or "c"), UTC)).splitlines()
    assert lines[0] == "sequenceDiagram"
    known = re.compile(
        r"    (accTitle: |participant p\d as |p\d(->>|-x|--\))p\d: |Note (over|right of) p\d(,p\d)?: )"
    )
    for line in lines[1:]:
        found = known.match(line)
        assert found, line
        rest = re.sub(r"#\d+;", "", line[found.end() :])
        assert not re.search(r"[;#<>&\"{}%`\\]|\bend\b", rest), line


def test_json_says_what_the_others_say(hundred: Publication) -> None:
    told = json.loads(json.dumps(diagram_json(diagram(hundred, UTC))))
    assert [lane["count"] for lane in told["lanes"]] == [1, 1, 1, 1, 98]
    assert {row["row"] for row in told["rows"]} == {"arrow"}
    flow = json.loads(json.dumps(flow_json(hundred)))
    assert len(flow["deliveries"]) == 100
    assert [one["fate"] for one in flow["deliveries"]].count("waits") == 1


def test_publisher_and_receiver_are_one_lane_where_they_are_one_client() -> None:
    pair = Pair()
    echo = pair.connect("echo")
    echo.subscribe("t", qos=0)
    seen = Seen(pair)
    echo.publish("t", b"x")
    pair.run(1)
    (flow,) = seen.joined().publications
    assert [lane.name for lane in diagram(flow).lanes] == ["echo", "broker"]


def test_an_empty_diagram_is_drawn_as_well() -> None:
    nothing = Diagram("nothing", 0.0, (Lane("a"), Lane("broker", is_broker=True)), ())
    forms: list[Callable[[Diagram], object]] = [text, svg, mermaid, diagram_json]
    assert all(form(nothing) for form in forms)


@pytest.mark.parametrize(
    ("words", "width", "lines"),
    [
        ("a bb ccc", 4, ["a bb", "ccc"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("温度 温度", 5, ["温度", "温度"]),
        ("温度温", 3, ["温", "度", "温"]),
        ("", 5, [""]),
    ],
)
def test_lines_are_broken_by_cells(words: str, width: int, lines: list[str]) -> None:
    assert wrap(words, width) == lines


@pytest.mark.parametrize(
    ("words", "width", "line"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("温度温度", 6, "温度…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
        ("", 0, ""),
    ],
)
def test_what_is_cut_says_so(words: str, width: int, line: str) -> None:
    assert cut(words, width, "…") == line


def test_what_rules_break_is_told_at_the_packet_or_at_whose_it_was() -> None:
    pair = Pair(latency=0.001, faults=Faults("lose 1st PUBACK from dash-1", "delay PUBREC by 2s"))
    trace = pair.trace()
    gateway, dash = pair.connect("gateway"), pair.connect("dash-1")
    dash.subscribe("t", qos=1)
    gateway.publish("t", b"x", qos=2)
    pair.run(5)
    joiner = Joiner()
    for event in trace.take():
        joiner.feed(event)
    made = diagram(joiner.publications[0], UTC)
    (delayed,) = (row for row in made.rows if isinstance(row, Arrow) and "delay PUBREC" in row.note)
    assert delayed.label == "PUBREC #1"
    (lost,) = (row for row in made.rows if isinstance(row, Arrow) and row.style == LOST)
    assert (lost.label, made.lanes[lost.source].name) == ("PUBACK #1", "dash-1")
    assert "PUBACK id 1: lost, by the rule" in lost.note
    assert "waits on dash-1: PUBACK #1 (since 22:13:20.007)" in made.below
    assert [row.note.count("exactly once") for row in made.rows if isinstance(row, Arrow)] == [
        0,
        0,
        0,
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("qos", "rule", "arrow"),
    [
        (0, "lose PUBLISH from gateway", "PUBLISH q0  t from gateway"),
        (1, "lose 1st PUBLISH from gateway", "PUBLISH q1 #1  t from gateway"),
        (1, "lose 1st PUBACK to gateway", "PUBACK #1 from broker"),
        (2, "lose 1st PUBREC to gateway", "PUBREC #1 from broker"),
        (2, "lose 1st PUBREL from gateway", "PUBREL #1 from gateway"),
        (2, "lose 1st PUBCOMP to gateway", "PUBCOMP #1 from broker"),
        (0, "lose PUBLISH to dash-1", "PUBLISH q0 from broker"),
        (1, "lose 1st PUBLISH to dash-1", "PUBLISH q1 #1 from broker"),
        (1, "lose 1st PUBACK from dash-1", "PUBACK #1 from dash-1"),
        (2, "lose 1st PUBREC from dash-1", "PUBREC #1 from dash-1"),
        (2, "lose 1st PUBREL to dash-1", "PUBREL #1 from broker"),
        (2, "lose 1st PUBCOMP from dash-1", "PUBCOMP #1 from dash-1"),
    ],
)
@pytest.mark.parametrize("chosen", [{}, {"topic": "t"}, {"payload": 1}])
def test_what_a_rule_loses_is_lost_in_the_trace_of_the_broker(
    qos: int, rule: str, arrow: str, chosen: dict[str, Any]
) -> None:
    pair = Pair(latency=0.001, faults=Faults(rule))
    trace, wires = pair.trace(**chosen), pair.record_wires()
    dash = pair.connect("dash-1", session_expiry_interval=300)
    dash.subscribe("t", qos=2)
    gateway = pair.connect("gateway", session_expiry_interval=300)
    gateway.publish("t", b"x", qos=qos)
    pair.run(1)
    joiner = Joiner()
    events = trace.take()
    for event in events:
        joiner.feed(event)
    lost = [(one.to_server, one.data) for one in events if isinstance(one, Packet) and one.lost]
    assert lost == [(one.to_server, one.data) for one in wires if isinstance(one, Packet) and one.lost]
    (flow,) = joiner.publications
    made = diagram(flow, UTC)
    (drawn,) = (row for row in made.rows if isinstance(row, Arrow) and row.style == LOST)
    assert f"{drawn.label} from {made.lanes[drawn.source].name}" == arrow
    assert f"lost, by the rule '{rule}'" in drawn.note
    legs = [leg for leg in (flow.incoming, *flow.deliveries) if leg is not None]
    assert any(leg.state != DONE for leg in legs)
    if "topic" in chosen:
        return  # of a connection that has nothing to do with it any more, no more is seen
    for client in (gateway, dash):
        client.cut()
        pair.run(1)
        client.reconnect()
        pair.run(1)
    for event in trace.take():
        joiner.feed(event)
    assert [publication.is_finished for publication in joiner.publications] == [True]


def test_what_a_rule_answers_in_the_place_of_the_broker_is_in_its_trace() -> None:
    pair = Pair(latency=0.001, faults=Faults("answer PUBLISH from gateway with 0x97"))
    trace = pair.trace()
    pair.connect("gateway").publish("t", b"x", qos=1)
    pair.run(1)
    joiner = Joiner()
    for event in trace.take():
        joiner.feed(event)
    (flow,) = joiner.publications
    assert [(row.label, row.style) for row in diagram(flow, UTC).rows if isinstance(row, Arrow)] == [
        ("PUBLISH q1 #1  t", LOST),
        ("PUBACK #1", "solid"),
    ]
    assert flow.incoming is not None
    assert flow.incoming.why == "0x97 (Quota exceeded)"


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_colours_can_be_read_on_light_and_on_dark(background: float) -> None:
    """In xterm's colours, where the contrast is 3 at least, as WCAG 2.1 asks of graphics (1.4.11)."""
    channels = {
        1: (205, 0, 0),
        2: (0, 205, 0),
        3: (205, 205, 0),
        4: (0, 0, 238),
        5: (205, 0, 205),
        6: (0, 205, 205),
    }
    for code in (TO_SERVER, FROM_SERVER, TROUBLE):
        number = re.search(r"3(\d)m$", code)
        if number is None:
            assert not code  # as all text
            continue
        linear = [((one / 255 + 0.055) / 1.055) ** 2.4 if one else 0.0 for one in channels[int(number[1])]]
        light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        low, high = sorted((light, background))
        assert (high + 0.05) / (low + 0.05) >= 3, code
