"""Pages of a floe report: which there are, and whose addresses become names of local files."""

from __future__ import annotations

from pathlib import Path

import pytest

from orionfs.transfers import report

NAMES = {5: "plot.svg", 2**60 + 1: 'a "quoted": name.html'}


@pytest.mark.parametrize(
    ("metadata", "ids"),
    [
        ({"index_pages": [{"id": 5}, {"id": 7, "name": "x"}]}, (5, 7)),
        ({"index_pages": [{"id_str": str(2**60 + 1)}, "9", 5, 5]}, (2**60 + 1, 9, 5)),
        ({"index_pages": [{"id": True}, {}, None, "x"]}, ()),
        ({"index_pages": {"id": 5}}, ()),
        ({"pages": [5]}, ()),
        (None, ()),
        ([], ()),
    ],
)
def test_index_pages_are_read_from_whatever_stands_there(metadata, ids) -> None:
    assert report.index_pages(metadata) == ids


@pytest.mark.parametrize(
    ("link", "local"),
    [
        ("/api/v1/storage/collections/3/shards/5/download/", "plot.svg"),
        ("/api/v1/storage/collections/3/shards/5/download", "plot.svg"),
        ("https://orion.example:8443/api/v2/storage/collections/3/shards/5/download/", "plot.svg"),
        (r"\/api\/v1\/storage\/collections\/3\/shards\/5\/download\/", "plot.svg"),
        (
            f"/api/v1/storage/collections/3/shards/{2**60 + 1}/download/",
            "a%20%22quoted%22%3A%20name.html",
        ),
        ("/api/v1/storage/collections/4/shards/5/download/", None),
        ("/api/v1/storage/collections/3/shards/6/download/", None),
        ("/api/v1/storage/collections/33/shards/5/download/", None),
        ("/api/v3/storage/files/5/download", None),
    ],
)
def test_addresses_of_its_own_shards_become_names_and_no_others(tmp_path, link, local) -> None:
    page = tmp_path / "page"
    page.write_text(f'<html><a href="{link}">x</a>\xe4</html>', "latin-1")
    assert report.rewrite(page, tmp_path / "local", 3, NAMES) == (0 if local is None else 1)
    expected = f'<html><a href="{local or link}">x</a>\xe4</html>'
    assert (tmp_path / "local").read_text("latin-1") == expected
    # What was made local stays as it is.
    assert report.rewrite(tmp_path / "local", tmp_path / "again", 3, NAMES) == 0
    assert (tmp_path / "again").read_bytes() == (tmp_path / "local").read_bytes()


def test_large_and_empty_pages_come_through_whole(tmp_path) -> None:
    page, local = tmp_path / "page", tmp_path / "local"
    link = b"/api/v1/storage/collections/3/shards/5/download/"
    page.write_bytes(b"x" * 3_000_000 + link + b"y" * 1_500_000 + link)
    assert report.rewrite(page, local, 3, NAMES) == 2
    assert local.read_bytes() == b"x" * 3_000_000 + b"plot.svg" + b"y" * 1_500_000 + b"plot.svg"
    page.write_bytes(b"")
    assert report.rewrite(page, local, 3, NAMES) == 0
    assert local.read_bytes() == b""


@pytest.mark.parametrize(
    ("contents", "is_page"),
    [
        (b"<!DOCTYPE html><html>", True),
        (b"\xef\xbb\xbf\n<!-- made by --> <HTML lang='en'>", True),
        (b"<svg></svg>", False),
        (b"text about <html>", False),
        (b"", False),
    ],
)
def test_page_is_known_by_its_first_bytes(tmp_path, contents, is_page) -> None:
    (tmp_path / "x").write_bytes(contents)
    assert report.is_page(tmp_path / "x") is is_page


def test_page_gets_a_suffix_by_which_a_browser_takes_it_for_one() -> None:
    assert report.page_name("Summary", is_page=True) == "Summary.html"
    assert report.page_name("Summary.HTM", is_page=True) == "Summary.HTM"
    assert report.page_name("plot.png", is_page=False) == "plot.png"


def index_of(folder: Path, *pages: str) -> str:
    report.write_index(folder, "<Report>", {page: page for page in pages})
    return (folder / "index.html").read_text()


def test_index_leads_to_one_page_or_lists_several(tmp_path) -> None:
    text = index_of(tmp_path, "a b.html")
    assert "url=a%20b.html" in text
    assert "&lt;Report&gt;" in text
    (tmp_path / "index.html").unlink()
    text = index_of(tmp_path, "a.html", "<b>.html")
    assert text.count("<li>") == 2
    assert "&lt;b&gt;.html" in text


def test_index_that_is_there_stays(tmp_path) -> None:
    (tmp_path / "index.html").write_text("its own")
    assert index_of(tmp_path, "a.html") == "its own"
