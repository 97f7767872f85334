"""The account of a stream's numbers, against counting them."""

from hypothesis import given
from hypothesis import strategies as st

from curier.loadgen.ledger import Ledger

NUMBERS = st.lists(st.integers(0, 30))


@given(NUMBERS)
def test_it_is_as_counted(numbers: list[int]) -> None:
    ledger = Ledger()
    accounted = sum(ledger.take(number) for number in numbers)
    ledger.close(40)
    distinct = list(dict.fromkeys(numbers))
    checks = ledger.checks
    assert checks.received == len(distinct)
    assert checks.lost == 40 - len(distinct)
    assert checks.doubled == len(numbers) - len(distinct)
    highest = -1
    late = 0
    for number in distinct:
        late += number < highest
        highest = max(highest, number)
    assert checks.reordered == late
    assert accounted == highest + 1


@given(NUMBERS)
def test_a_group_gets_them_in_any_order(numbers: list[int]) -> None:
    ledger = Ledger(is_group=True)
    accounted = sum(ledger.take(number) for number in numbers)
    ledger.close(40)
    assert ledger.checks.reordered == 0
    assert ledger.checks.received == accounted == len(set(numbers))
    assert ledger.checks.lost == 40 - len(set(numbers))


def test_where_nobody_knows_how_many_there_were() -> None:
    ledger = Ledger(100)
    for number in (100, 101, 104):
        ledger.take(number)
    ledger.close(None)
    assert ledger.checks.received == 3
    assert ledger.checks.lost == 2


def test_a_run() -> None:
    ledger = Ledger()
    ledger.take(0)
    ledger.take_run(50)
    ledger.take(51)
    ledger.close(52)
    assert ledger.checks.received == 52
    assert ledger.checks.is_good
