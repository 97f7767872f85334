"""The tour of the pages, and trying it oneself, in a browser."""

from __future__ import annotations

import pytest

from tests.interop.chromium import Tab
from tests.interop.pages import Window, click, go, shows, tab, window, write
from tests.waiting import wait_until

__all__ = ["tab", "window"]  # fixtures

DRAWN = "[...document.querySelectorAll('svg.diagram text')].map((one) => one.textContent).join()"


def test_the_tour_asks_first_and_then_shows_what_went_by(tab: Tab) -> None:
    go(tab, "tour")
    shows(tab, "MQTT has three flows")
    go(tab, "tour?scene=qos1-puback")
    shows(tab, "lose 1st PUBACK to gateway")
    assert tab.run(DRAWN) == ""
    click(tab, "once")
    shows(tab, "It is: 2 times.")
    shows(tab, "QoS 1 doubles rather than lose.")
    assert tab.run(DRAWN).count("sent again") == 1
    tab.run("document.querySelector('svg .can').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    shows(tab, "Fixed Header")
    for _ in range(7):
        click(tab, "Next")
    shows(tab, "QoS 0 loses, QoS 1 doubles")
    wait_until(lambda: tab.run("document.querySelectorAll('main td.bad').length") == 3)


def choose(tab: Tab, label: str, text: str) -> None:
    """In the first list of this label."""
    tab.run(
        """(label, text) => {
            const list = document.querySelector(`select[aria-label="${label}"]`);
            list.value = [...list.options].find((one) => one.text === text).value;
            list.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        label,
        text,
    )


def begin(tab: Tab, window: Window, qos: int) -> list[str]:
    """A publisher and a subscriber, who has subscribed; their Client Identifiers."""
    go(tab, "tryit")
    shows(tab, "Password")
    click(tab, "Connect")
    wait_until(lambda: tab.run(DRAWN).count("a new session") == 2)
    write(tab, "main form input", "try/<b>\u202e")
    click(tab, "Subscribe")
    wait_until(lambda: "SUBACK #1" in tab.run(DRAWN))
    tab.run(
        """(qos) => {
            const list = [...document.querySelectorAll('select[aria-label=QoS]')].at(-1);
            list.value = qos;
            list.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        qos,
    )
    return sorted(one for one in window.broker.core.sessions if one.startswith("try-"))


@pytest.mark.parametrize(
    ("qos", "packet", "way", "who", "times"),
    [
        (1, "PUBLISH", "publisher → broker", 0, 1),
        (1, "PUBACK", "broker → publisher", 0, 2),
        (2, "PUBREC", "broker → publisher", 0, 1),
        (2, "PUBREL", "publisher → broker", 0, 1),
        (2, "PUBCOMP", "broker → publisher", 0, 1),
        (2, "PUBREC", "subscriber → broker", 1, 1),
        (1, "PUBACK", "subscriber → broker", 1, 2),
    ],
)
def test_a_packet_is_lost_and_what_was_not_acknowledged_goes_again(
    tab: Tab, window: Window, qos: int, packet: str, way: str, who: int, times: int
) -> None:
    """As in the tour: the subscriber gets it once but where a PUBACK is lost."""
    clients = begin(tab, window, qos)
    choose(tab, "Packet", packet)
    choose(tab, "On which way", way)
    click(tab, "Set up")
    shows(tab, f"lose {packet}, {way}")
    click(tab, "Publish")
    wait_until(lambda: tab.run(DRAWN).count("lost, on purpose") == 1)
    cut = "(at) => [...document.querySelectorAll('.client button')][at].click()"
    tab.run(cut, who)
    wait_until(lambda: tab.run(DRAWN).count("the connection breaks off") == 1)
    tab.run(cut, who)
    wait_until(lambda: tab.run(DRAWN).count("its session goes on") == 1)
    last = "PUBACK" if qos == 1 else "PUBCOMP"
    ends = 3 if packet == last or (qos == 1 and times == 2) else 2
    wait_until(lambda: tab.run(DRAWN).count(f"{last} #") >= ends)
    shows(tab, f"{times} ×")
    shows(tab, "try/<b>\\u{202e}")
    wait_until(lambda: "unacknowledged" not in tab.run("document.querySelector('main').innerText"))
    go(tab, "clients")
    wait_until(lambda: not {*clients} & {*window.broker.core.sessions})  # nothing is left behind


def test_the_connection_is_cut_before_a_packet(tab: Tab, window: Window) -> None:
    begin(tab, window, 2)
    choose(tab, "do what", "cut before")
    choose(tab, "Packet", "PUBREL")
    choose(tab, "On which way", "publisher → broker")
    click(tab, "Set up")
    click(tab, "Publish")
    shows(tab, "1 unacknowledged")
    wait_until(lambda: "the connection breaks off" in tab.run(DRAWN))
    click(tab, "Connect again")
    wait_until(lambda: "unacknowledged" not in tab.run("document.querySelector('main').innerText"))
    shows(tab, "1 ×")


def test_what_is_delayed_is_not_overtaken(tab: Tab, window: Window) -> None:
    begin(tab, window, 1)
    choose(tab, "do what", "delay by 3 s")
    choose(tab, "Packet", "PUBLISH")
    choose(tab, "On which way", "publisher → broker")
    click(tab, "Set up")
    for text in ("one", "two"):
        write(tab, "main form label:nth-of-type(2) input", text)
        click(tab, "Publish")
    shows(tab, "2 unacknowledged")
    wait_until(lambda: "delayed by 3 s" in tab.run(DRAWN))
    shows(tab, "two")
    told = tab.run("document.querySelector('main [role=status]').innerText")
    assert told.index("one") < told.index("two")


def test_a_password_is_not_shown(tab: Tab, window: Window) -> None:
    go(tab, "tryit")
    shows(tab, "Password")
    write(tab, "input[autocomplete=off]", "ana")
    write(tab, "main input[type=password]", "no one's")
    click(tab, "Connect")
    wait_until(lambda: tab.run(DRAWN).count("a new session") == 2)
    tab.run("document.querySelector('svg .can').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    shows(tab, "User Name Flag")
    html = tab.run("document.documentElement.innerHTML")
    assert "no one's" not in html
    assert "6e 6f 20 6f" not in html
