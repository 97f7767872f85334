"""The documentation says what is so: tables match the code, links lead somewhere, examples hold."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

import curier
from curier import auth, config, testing
from curier.broker.judging import Who
from curier.broker.options import Options
from curier.cli import COMMANDS, main
from curier.cli.formats import BadFormat, Look, printer
from curier.cli.profiles import KEYS, load_profile
from curier.config import Config, load
from curier.faults.tables import read_rules as read_faults
from curier.faults.words import parse_rule
from curier.permissions.reading import read_rules
from curier.settings.setting import Setting
from curier.settings.table import ALL, LIMIT
from tests import commands_page, scenes_page, settings_page
from tests.site_check import faults
from tests.test_layers import ALLOWED, FLOORS

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
COMMAND_LINE = ROOT / "docs" / "command-line.md"
PERMISSIONS = ROOT / "docs" / "permissions.md"
TRACE = ROOT / "docs" / "trace.md"
CLIENTS = {"pub", "rr", "sub"}
PROMISES = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
"""What programs say that they print: `print(...)  # this`."""


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    table = re.search(r"(^\|.*\n)+", page.split(f"\n{heading}\n", 1)[1], re.MULTILINE)
    assert table is not None
    lines = [line.removeprefix("|").removesuffix("|").split("|") for line in table[0].splitlines()]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def anchor(heading: str) -> str:
    """The name a heading gets as the target of a link."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", settings_page.PAGES, ids=lambda page: page.name)
def test_the_tables_of_settings_are_those_of_the_source(page: Path) -> None:
    """`make settings` writes them."""
    text = page.read_text()
    assert settings_page.PLACE.search(text)
    assert settings_page.written(text) == text


def test_the_pages_have_every_table_of_settings() -> None:
    found = [name for page in PAGES for _, name, _ in settings_page.PLACE.findall(page.read_text())]
    assert sorted(found) == sorted(settings_page.TABLES)


@pytest.mark.parametrize("name", scenes_page.PAGES)
def test_the_scenes_are_what_the_tour_plays(name: str) -> None:
    """`make settings` writes these, too: the drawings of QoS, and what is said of them."""
    page = scenes_page.PAGES[name].read_text(encoding="utf-8")
    assert scenes_page.written(page, name) == page
    parts = [part for _, part, _ in scenes_page.PLACE.findall(page)]
    assert parts == ["intro", "qos0", "qos1", "qos2", "lesson"]


def test_the_drawings_are_those_of_the_scenes() -> None:
    drawings = scenes_page.drawings()
    assert {path: path.read_text(encoding="utf-8") for path in drawings} == drawings
    assert {*(ROOT / "docs" / "images").iterdir()} == {*drawings}


@pytest.mark.parametrize("setting", ALL.values(), ids=lambda setting: setting.name)
def test_defaults_are_values_of_their_kind(setting: Setting) -> None:
    """As they are written in the documentation, or words that a link leads from."""
    assert setting.about.endswith((".", ".)"))
    for default in re.findall(r"`([^`]+)`", setting.default):
        if setting.table:
            value = setting.kind.take(tomllib.loads(f"x = {default}")["x"])
            assert setting.table != "limits" or value == getattr(Options(), setting.name)


def test_every_option_of_the_broker_is_described() -> None:
    options = [one for one in main.commands["broker"].params if isinstance(one, click.Option)]
    told = [row[0].strip("`") for row in rows(CONFIGURATION, "## curier broker")]
    assert {one.opts[0] for one in options} == {*told, *(one.option for one in LIMIT.values())}
    assert [one.name for one in options if one.name in ALL] == [*ALL]


def test_every_command_is_described() -> None:
    """With its arguments and options, and those of the commands below it. Of settings, see above."""
    for name, command in main.commands.items():
        if name in CLIENTS or name in ("broker", "limits"):
            continue
        section = CONFIGURATION.split(f"\n## curier {name}\n")[1].split("\n## ")[0]
        told = set(re.findall(r"[\w-]+", section))
        for below in (command, *getattr(command, "commands", {}).values()):
            assert below.name in told
            for param in below.params:
                word = param.opts[0] if isinstance(param, click.Option) else param.metavar or param.name
                assert str(word).strip("-").lower() in {one.strip("-").lower() for one in told}, word


def test_the_page_of_commands_is_what_they_say_of_themselves() -> None:
    """`make settings` writes it."""
    text = commands_page.PAGE.read_text(encoding="utf-8")
    assert text == commands_page.written()
    assert {f"curier {name}" for name in COMMANDS} <= {*re.findall(r"^## (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_every_option_of_a_client_is_described(name: str) -> None:
    """In the section of the command, in one it shares with the others, or in words where it says so."""
    page = COMMAND_LINE.read_text()
    own = page.split(f"\n## curier {name}\n")[1].split("\n## ")[0]
    shared = [
        row[0]
        for heading in ("## Server, session, TLS, will", *([] if name == "pub" else ["## Output"]))
        for row in rows(page, heading)
    ]
    told = set(re.findall(r"`(--?[\w-]+)`", own + " ".join(shared)))
    params = [one for one in main.commands[name].params if isinstance(one, click.Option) and not one.hidden]
    for param in params:  # rr names the options that pub has described by one of their names
        assert told.intersection(param.opts) if name == "rr" else told.issuperset(param.opts), param.name
    first_cells = " ".join(row[0] for row in rows(page, f"## curier {name}"))
    known = {option for param in params for option in param.opts}
    assert set(re.findall(r"`(--?[\w-]+)`", first_cells)) <= known


def test_every_key_of_a_profile_is_described() -> None:
    keys = COMMAND_LINE.read_text().split("\nThe keys are ")[1].split("\n\n")[0]
    assert [name for name in re.findall(r"`(\w+)`", keys) if len(name) > 1] == [*KEYS]


def test_every_sequence_of_a_format_is_described() -> None:
    page = COMMAND_LINE.read_text().split("\nA format is text with these sequences:\n")[1].split("\n## ")[0]
    told = set(re.findall(r"`%(\w)`", page))
    with pytest.raises(BadFormat) as raised:
        printer(Look(format="%z"))
    assert told == set(re.findall(r"%(\w)", str(raised.value).partition("there are")[2]))


def test_the_profiles_load(tmp_path: Path) -> None:
    for text in blocks(COMMAND_LINE.read_text(), "toml"):
        path = tmp_path / "client.toml"
        path.write_text(text)
        for name in tomllib.loads(text)["profile"]:
            assert load_profile(path, name)


def test_every_key_of_the_file_is_described() -> None:
    assert [row[0].strip("`") for row in rows(CONFIGURATION, "## The configuration file")] == [*config._KEYS]


def test_the_configuration_files_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_PASSWORD", "as a page has it")
    others = (COMMAND_LINE, PERMISSIONS, TRACE)
    found = [text for page in PAGES if page not in others for text in blocks(page.read_text(), "toml")]
    found = [text for text in found if "[[rule]]" not in text]  # of an acl_file: the guides ask these
    assert found
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        loaded = load(path)
        loaded.check()
        assert loaded != Config()


def test_the_rules_that_break_a_line_are_rules(tmp_path: Path) -> None:
    page = TRACE.read_text()
    for words, _ in rows(page, "## Break it on purpose"):
        for rule in re.findall("`([^`]+)`", words):
            parse_rule(rule)
    (text,) = blocks(page, "toml")
    path = tmp_path / "faults.toml"
    path.write_text(text)
    rules, seed = read_faults(path)
    assert (len(rules), seed) == (2, 7)


def test_the_rules_load(tmp_path: Path) -> None:
    path = tmp_path / "acl"
    for text in blocks(PERMISSIONS.read_text(), "toml"):
        path.write_text(text)
        dev = read_rules(path).rights(Who(None, "dev-1"))
        assert dev.may_publish(b"devices/dev-1/t", 0, False)
        assert not dev.may_publish(b"devices/dev-2/t", 0, False)


def test_the_limits_of_the_readme() -> None:
    """Its table is shorter, and in words; each number is the default of the setting in its row."""
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    for _, default, settings in rows((ROOT / "README.md").read_text(), "## Limits"):
        names = re.findall(r"`(\w+)`", settings)
        told = [
            int(number.replace(" ", "")) * units.get(unit, 1)
            for number, unit in re.findall(r"(\d[\d ]*)(KiB|MiB|GiB)?", default)
        ]
        assert [getattr(Options(), name) for name in names] == told * (len(names) // len(told))


def test_the_layers() -> None:
    """The table of the architecture is the one that is enforced."""
    found: dict[str, set[str]] = {}
    layer = ""
    for name, _, allowed in rows((ROOT / "docs" / "architecture.md").read_text(), "## Layers"):
        layer = name.strip("` ") or layer  # a row without a name goes on with the one above
        names = set() if "everything" in allowed else set(re.findall(r"`([\w.]+)`", allowed))
        found.setdefault(layer, set()).update(names - {"curier"})
    assert found == {
        layer: {name for name in allowed if exists(name)}
        for layer, allowed in ALLOWED.items()
        if exists(layer) and layer != "__main__"
    }


def test_the_floors_of_the_broker() -> None:
    """Its table has the files in the order that is enforced."""
    found: list[str] = []
    for _, files, _ in rows((ROOT / "docs" / "architecture.md").read_text(), "## The floors of the broker"):
        found += re.findall(r"`(\w+)`", files)
    assert [*found, "__init__"] == FLOORS["broker"]


def exists(layer: str) -> bool:
    """Whether there is such a package or module below src/curier."""
    path = ROOT / "src" / "curier" / layer.replace(".", "/")
    return bool(layer) and (path.is_dir() or path.with_suffix(".py").exists())


def test_commands_that_are_shown() -> None:
    """Every option of `curier ...` is one, and so is every target of `make ...`."""
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for page in PAGES for text in blocks(page.read_text(), "sh") for line in text.splitlines()]
    assert len([line for line in lines if line.startswith(("curier ", "make "))]) >= 6
    for line in lines:
        name, *words = shlex.split(line, comments=True)
        if name == "curier":
            main.commands[words[0]].make_context(words[0], words[1:])
        elif name == "make":
            assert f"\n{words[0]}:" in makefile, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, name = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if name:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert name in map(anchor, headings), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """As `src/curier/types.py`, `tests/interop`, or `codec/publish.py` below src/curier."""
    for name in re.findall(r"`([\w.]+(?:/[\w.]+)+)`", page.read_text()):
        if name.split("/")[0] in ("src", "tests", "bench", "docs", "examples"):
            assert (ROOT / name).exists(), name
        elif name.endswith(".py"):
            assert (ROOT / "src" / "curier" / name).exists(), name


def test_every_page_is_in_the_navigation() -> None:
    """Once: the lists of docs/index.md are the navigation of the site; what is in none, nobody finds."""
    index = ROOT / "docs" / "index.md"
    listed = re.findall(r"^- \[[^]]+\]\(([^)#]+)\)", index.read_text(), re.MULTILINE)
    pages = {page.relative_to(index.parent).as_posix() for page in PAGES if page.is_relative_to(index.parent)}
    borrowed = {page for page in pages if page.startswith("project/")}
    for page in sorted(pages - borrowed - {"index.md"}):
        assert listed.count(page) == 1, (
            f"docs/index.md: say `- [Title]({page}): what it has` under one heading"
        )
    for page in borrowed:  # the front page names the file whose text they have
        (name,) = re.findall(r"\(\.\./(.*)\)", (index.parent / page).read_text())
        assert listed.count(name) == 1, name


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(page.read_text() for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
    documented = re.findall(r"^\.\. auto\w+:: ([\w.]+)", text, re.MULTILINE)
    assert len(set(documented)) == len(documented)
    assert "curier.broker.hooks.Hook" in documented
    for face in (curier, auth, testing):
        names = {f"{face.__name__}.{name}" for name in face.__all__} - {
            "curier.COMPILED",
            "curier.__version__",
        }
        assert names <= set(documented)


def test_the_check_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<script src="https://cdn.example/x.js"></script><p id="here"><a href="b.html#there">b</a>'
        '<a href="#here">a</a><a href="https://example.org/">out</a><a href="c.html">c</a>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#here">a</a>')
    (tmp_path / "c.css").write_text("@import 'https://fonts.example/css';")
    assert faults(tmp_path) == [
        "a.html: loads https://cdn.example/x.js",
        "a.html: b.html#there: there is no such place on that page",
        "a.html: c.html leads nowhere",
        "c.css: loads from elsewhere",
    ]


def test_the_version_is_said_nowhere() -> None:
    """A page that names it would be wrong after the next release."""
    for page in PAGES:
        assert curier.__version__ not in page.read_text()
