"""The form under test is the form that was asked for: the core compiled, or interpreted."""

import ast
import importlib
import os
import pkgutil
import re
import tomllib
from pathlib import Path

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
    suffix = ".so" if curier.COMPILED else ".py"
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
    assert [name for name in names if not (ROOT / "src" / "curier" / name).is_file()] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(curier.__path__[0], "py.typed").is_file()


def test_what_packages_bring_are_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"^curier\[(.*)\]$", *extras["full"])
    assert set(named.split(",")) <= extras.keys() - {"full", "dev"}
