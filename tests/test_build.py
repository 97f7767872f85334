"""The form under test is the form that was asked for: the core compiled, or interpreted."""

import ast
import importlib
import os
import pkgutil
import re
import tomllib
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, cast

import curier

ROOT = Path(__file__).parent.parent
CORE_FOLDERS = ("codec", "topics", "session", "protocol", "broker")
TURN_MODULES = [
    "curier.net.wire",
    "curier.net.turn",
    "curier.net.selector",
    "curier.net.reactor",
    "curier.net.layer",
    "curier.net.frames",
    "curier.net.web",
]


def core_modules() -> list[str]:
    return [
        f"curier.{folder}.{module.name}"
        for folder in CORE_FOLDERS
        for module in pkgutil.iter_modules([str(Path(curier.__path__[0], folder))])
    ]


def test_the_whole_core_has_one_form_the_expected_one() -> None:
    modules = core_modules() + TURN_MODULES
    assert "curier.codec.primitives" in modules
    suffix = tuple(EXTENSION_SUFFIXES) if curier.COMPILED else ".py"
    files = {name: importlib.import_module(name).__file__ or "" for name in modules}
    assert [name for name, file in files.items() if not file.endswith(suffix)] == []
    if expected := os.environ.get("CURIER_EXPECT"):
        assert expected == ("compiled" if curier.COMPILED else "pure")


def test_setup_names_files_that_exist() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text())
    lists = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"SELDOM", "TURN_FILES"}
    ]
    names = [name for names in lists for name in names]
    assert len(names) > 10
    assert [name for name in names if not Path(curier.__path__[0], name).is_file()] == []


def long_description() -> Callable[[str, dict[str, str]], str]:
    """The function of setup.py, which cannot be imported."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (found,) = [
        one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "long_description"
    ]
    names: dict[str, Any] = {"re": re}
    exec(compile(ast.Module([found], []), "setup.py", "exec"), names)
    return cast("Callable[[str, dict[str, str]], str]", names["long_description"])


def test_links_of_the_long_description_lead_away_from_here() -> None:
    made = long_description()
    page = "[a](docs/a.md#b) [here](#here) [out](https://example.org/) [`c`](examples/c.py)"
    assert made(page, {}) == "a [here](#here) [out](https://example.org/) `c`"
    there = "https://code.example/curier"
    assert made(page, {"Source": f"{there}/"}) == (
        f"[a]({there}/blob/HEAD/docs/a.md#b) [here](#here) [out](https://example.org/) "
        f"[`c`]({there}/blob/HEAD/examples/c.py)"
    )
    readme = (ROOT / "README.md").read_text()
    for urls in ({}, {"Source": there}):
        links = re.findall(r"\]\(([^)]+)\)", made(readme, urls))
        assert all(link.startswith(("https://", "http://", "#")) for link in links)


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(curier.__path__[0], "py.typed").is_file()


def test_what_packages_bring_are_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"^curier\[(.*)\]$", *extras["full"])
    assert set(named.split(",")) <= extras.keys() - {"full", "dev"}
