"""Every normative statement has a test or a reason, and docs/conformance.md tells them."""

from pathlib import Path

import pytest

from tests.conformance.page import CITED, PAGE, Statements, collect, is_whole, render

WORDS = 12

MARKED = """
import pytest
pytestmark = pytest.mark.statement("a")

@pytest.mark.statement("b")
@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.statement("c"))])
def test_one(x): pass

@pytest.mark.statement("d")
async def test_two(): pass
"""


@pytest.fixture(scope="module")
def statements() -> Statements:
    return Statements()


@pytest.fixture(scope="module")
def tests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Which test cites what. Where not all tests have been collected, a pytest that only collects does it."""
    if is_whole(request.config):
        return request.config.stash[CITED]
    return collect(tmp_path_factory.mktemp("conformance") / "statements.json")


def test_the_list_is_whole_and_short(statements: Statements) -> None:
    assert len([name for name in statements.asked if name.startswith("3.1.1/")]) == 141
    assert len([name for name in statements.asked if name.startswith("5.0/")]) == 251
    assert [name for name, words in statements.asked.items() if len(words.split()) > WORDS] == []
    assert set(statements.reasons) <= set(statements.asked)


def test_every_statement_has_a_test_or_a_reason(statements: Statements, tests: dict[str, list[str]]) -> None:
    assert [name for name in statements.asked if name not in tests and name not in statements.reasons] == []


def test_no_statement_has_both(statements: Statements, tests: dict[str, list[str]]) -> None:
    assert [name for name in statements.reasons if name in tests] == []


def test_no_test_cites_an_unknown_statement(statements: Statements, tests: dict[str, list[str]]) -> None:
    assert {name: found for name, found in tests.items() if name not in statements.asked} == {}


def test_the_page_is_up_to_date(statements: Statements, tests: dict[str, list[str]]) -> None:
    assert PAGE.read_text() == render(statements, tests), "run `make conformance`"


def test_collecting_finds_the_marks_of_files_functions_and_parameters(tmp_path: Path) -> None:
    (tmp_path / "test_marked.py").write_text(MARKED)
    found = collect(tmp_path / "found.json", str(tmp_path / "test_marked.py"))
    names = {name: [test.partition("::")[2] for test in cited] for name, cited in found.items()}
    assert names == {"a": ["test_one", "test_two"], "b": ["test_one"], "c": ["test_one"], "d": ["test_two"]}
