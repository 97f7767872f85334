"""The pages as files: served as they are, in both languages, without anything of a stranger's site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette

from curier.web import pages
from curier.web.libraries import LIBRARIES
from tests.web.asking import asking

OURS = sorted(path for path in pages.FOLDER.iterdir() if path.suffix == ".js")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The pages, with empty libraries."""
    for path in pages.FOLDER.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "lib").mkdir()
    for library in LIBRARIES:
        for name in library.files.values():
            (tmp_path / "lib" / name).write_text("")
    return tmp_path


async def test_each_file_is_served_with_its_kind(folder: Path) -> None:
    async with asking(Starlette(routes=pages.routes(folder))) as client:
        front = await client.get("/")
        assert front.status_code == 200
        assert front.headers["content-type"] == "text/html; charset=utf-8"
        for address in re.findall(r'(?:src|href)="([^"]+)"', front.text):
            answer = await client.get(f"/{address}")
            assert answer.status_code == 200, address
            assert "script" not in answer.headers["content-type"] or address.endswith(".js")
        assert (
            (await client.get("/pages/lib/preact.js")).headers["content-type"].startswith("text/javascript")
        )


async def test_a_browser_that_has_a_file_is_not_sent_it_again(folder: Path) -> None:
    async with asking(Starlette(routes=pages.routes(folder))) as client:
        first = await client.get("/pages/app.js")
        again = await client.get("/pages/app.js", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get("/pages/app.js", headers={"if-none-match": '"other"'})
        assert other.content == first.content


@pytest.mark.parametrize(
    "address", ["/pages/", "/pages/..%2fserver.py", "/pages/lib/preact.LICENSE", "/server.py"]
)
async def test_nothing_else_is_served(folder: Path, address: str) -> None:
    async with asking(Starlette(routes=pages.routes(folder))) as client:
        assert (await client.get(address)).status_code == 404


async def test_without_libraries_it_says_how_to_have_them(folder: Path) -> None:
    (folder / "lib" / "preact.js").unlink()
    async with asking(Starlette(routes=pages.routes(folder))) as client:
        answer = await client.get("/")
        assert answer.status_code == 503
        assert "python -m curier.web.libraries" in answer.text


def test_every_sentence_is_there_in_romanian() -> None:
    lists = [path for path in OURS if path.name.endswith(".ro.js")]
    sources = "".join(path.read_text() for path in OURS if path not in lists)
    said = set(re.findall(r'\bt\(\s*"([^"]+)"', sources))
    pairs = re.findall(
        r'^  "([^"]+)": "([^"]+)",$', "".join(path.read_text() for path in lists), re.MULTILINE
    )
    translated = dict(pairs)
    assert len(pairs) == len(translated)
    assert said - translated.keys() == set()
    assert {one for one in translated if f'"{one}"' not in sources} == set()  # what nobody says any more
    for english, romanian in translated.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", romanian)), english
        for said, forms in ((english, 2), (romanian, 3)):  # of what goes with a number
            assert all(one.count("|") == forms - 1 for one in re.findall(r"\{\w+:([^}]*)\}", said)), said


def test_what_is_counted_has_the_form_of_its_number() -> None:
    """A number before a word is a number to the sentence, and the word has its forms there."""
    sources = "".join(path.read_text() for path in OURS if not path.name.endswith(".ro.js"))
    said = set(re.findall(r'\bt\(\s*"([^"]+)"', sources))
    plain = {one for one in said if re.search(r"\{[nm]\} (messages|rows|events|topics|values|bytes)\b", one)}
    assert plain == {"The broker keeps its last {n} values, in memory."}  # a hundred, always
    assert not re.search(r't\("[^"]*", \{[^}]*\bcount\(', sources)  # would be a text to it


def test_every_stream_ends_where_the_tab_is_hidden_and_what_scrolls_is_reached_by_keyboard() -> None:
    assert [path.name for path in OURS if "new EventSource(" in path.read_text()] == [
        "stream.js",
        "streams.js",
    ]
    for path in OURS:
        for tag in re.findall(r'<div class="scroll"[^>]*>', path.read_text()):
            assert 'tabindex="0" role="region" aria-label=' in tag, path


def test_nothing_comes_from_elsewhere_and_nothing_stands_inline() -> None:
    """What the Content-Security-Policy would refuse, and what would not work below a path of a proxy."""
    for path in [*OURS, pages.FOLDER / "index.html", pages.FOLDER / "style.css"]:
        text = path.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), path
        assert not re.search(r"""(?:src|href)=["']/""", text), path
        assert not re.search(r"\bstyle=|\beval\(|new Function|innerHTML|\son[a-z]+=[\"']", text), path
    index = (pages.FOLDER / "index.html").read_text()
    assert re.findall(r"<script[^>]*>(.*?)</script>", index, re.DOTALL) == [""]
