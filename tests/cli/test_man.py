"""The manual pages say what the help says, in the language of man."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from curier.cli import COMMANDS, main
from curier.cli.man import plain

MACROS = {".TH", ".SH", ".PP", ".TP", ".B", ".nf", ".fi"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("man") / "not" / "there"
    result = CliRunner().invoke(main, ["man", str(directory)])
    assert result.exit_code == 0, result.output
    return {path.name: path.read_text("utf-8") for path in directory.iterdir()}


def test_there_is_a_page_for_each_command_and_the_page_above_names_it(pages: dict[str, str]) -> None:
    assert {f"curier-{name}.1" for name in COMMANDS} < pages.keys()
    for name in COMMANDS:
        assert rf"\fBcurier\-{name}\fR(1)" in pages["curier.1"]
    assert r"\fBcurier\-config\-check\fR(1)" in pages["curier-config.1"]
    assert "curier-trace-show.1" not in pages  # nobody types it
    assert r"\fB\-\-past" in pages["curier-trace.1"]
    assert r"\fBcurier\-trace\-fate\fR(1)" in pages["curier-trace.1"]


def test_pages_have_the_sections_of_the_help_with_each_option(pages: dict[str, str]) -> None:
    page = pages["curier-pub.1"]
    shown = CliRunner().invoke(main, ["pub", "--help"]).stdout
    for option in re.findall(r"--[a-z][a-z-]+", shown.partition("Examples:")[0]):
        assert plain(option) in page
    for section in re.findall(r"^([A-Z][^:\n]*):$", shown.partition("Examples:")[0], re.MULTILINE):
        assert f".SH {plain(section).upper()}\n" in page
    examples = shown.partition("Examples:\n")[2].splitlines()
    assert len(examples) > 2
    assert plain(examples[0].strip()) in page


def test_help_has_the_names_it_has_to_the_command(pages: dict[str, str]) -> None:
    for name, option in (("curier", "-h, --help"), ("curier-pub", "--help")):
        assert rf"\fB{plain(option)}\fR" in pages[f"{name}.1"]
    helped = CliRunner().invoke(main, ["-h"])  # pages that are made leave commands as they are
    assert (helped.exit_code, "-h, --help" in helped.stdout) == (0, True)


def test_no_line_is_taken_for_what_it_is_not(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        for line in text.splitlines():
            if line.startswith((".", "'")):
                assert line.split()[0] in MACROS, (name, line)
            assert re.fullmatch(r"(\\(e|-|&|\(ga|\(aq|fB|fR)|[^\\])*", line), (name, line)
            assert "\b" not in line, (name, line)


def test_what_means_something_to_man_stands_as_it_is() -> None:
    assert plain(".TH of 'x'\n.y \\n a-b `c`") == (r"\&.TH of \(aqx\(aq" "\n" r"\&.y \en a\-b \(gac\(ga")


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["man", str(tmp_path / "file" / "below")])
    assert result.exit_code == 2
    assert f"{tmp_path / 'file'}" in result.stderr
    assert "cannot be written" in result.stderr
