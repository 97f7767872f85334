"""The tour of the pages, and trying it oneself, in a browser."""

from __future__ import annotations

from tests.interop.chromium import Tab
from tests.interop.pages import browser, click, go, shows, tab, window
from tests.waiting import wait_until

__all__ = ["browser", "tab", "window"]  # fixtures

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
