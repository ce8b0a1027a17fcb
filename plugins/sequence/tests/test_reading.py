"""Plain texts, Markdown, EPUBs and subtitles."""

import base64
import io
import zipfile

import pytest
from stable_core_plugin_sequence.reading import read, read_book, read_bytes

from core.plugin import InvalidParams

MARKDOWN = """---
title: A tale
---
# A tale

By **nobody**.

## One

A *red* ship
in the [sky](http://example.org).

- an anchor
- a rope

### By night

```
stars
```

## Two

> the sea
"""
SUBTITLES = """1
00:00:02,000 --> 00:00:03,500
<i>Over the sea</i>
we go.

2
00:00:01,000 --> 00:00:02,000
A ship!
"""
CONTAINER = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest>
<spine toc="ncx"><itemref idref="cover"/><itemref idref="a"/><itemref idref="b"/></spine></package>"""
ITEMS = '<item id="cover" href="cover.xhtml"/><item id="a" href="text/a%20b.xhtml"/><item id="b" href="text/b.xhtml"/>'
NAV = '<item id="nav" href="nav.xhtml" properties="nav"/>'
NCX = '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
PAGES = {
    "cover.xhtml": "<p>Printed by nobody</p>",
    "text/a b.xhtml": '<h1 id="one">One</h1><p>A <b>red</b> ship<br/>in the sky</p><style>p</style><div>a rope</div>',
    "text/b.xhtml": '<p>still one</p><h1>Two</h1><p><a id="two"/>the s<sup>e</sup>a</p><ul><li>a wave</li></ul>',
}
CHAPTERS = [["A red ship in the sky", "a rope", "still one"], ["the sea", "a wave"]]


def epub(items="", files=None, pages=PAGES):
    files = {"META-INF/container.xml": CONTAINER, "OEBPS/book.opf": PACKAGE.format(items=ITEMS + items)} | (files or {})
    files |= {
        f"OEBPS/{name}": f"<html><head><title>x</title></head><body>{page}</body></html>"
        for name, page in pages.items()
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "text, chapters",
    [
        ("a cat\n\na dog", [["a cat", "a dog"]]),
        ("x\nChapter 1\na\nCHAPTER II. Two\nb\nc", [["a"], ["b", "c"]]),
        ("Season1 (1997)\na\nEpisode 2\nb", [["a"], ["b"]]),
        ("Act I\na\nScene 2: home\nb\nbook 3 on a table\n", [["a"], ["b", "book 3 on a table"]]),
        ("Part 1 of a machine\nb", [["Part 1 of a machine", "b"]]),
        ("", []),
    ],
)
def test_plain_texts_have_chapters_where_a_line_says_so(text, chapters):
    assert read(text).chapters == read(text.replace("\n", "\r\n")).chapters == chapters


def test_markdown_has_chapters_at_headings_and_prompts_without_marks():
    chapters = [["A red ship in the sky.", "an anchor", "a rope"], ["the sea"]]
    story = read(MARKDOWN)
    assert story.chapters == chapters and story.text == MARKDOWN
    assert story.prompts("*a*\n\n# no\n\nb") == ["a", "b"]


@pytest.mark.parametrize(
    "text, chapters",
    [
        ("# Only\n\na\n\n## Below\n\nb", [["a", "b"]]),
        ("# One\na\n# Two\nb\n## Three\nc", [["a"], ["b", "c"]]),
        ("# Part\n## A\na\n## B\nb\n# Part two\nc\n## C\nd", [["a", "b"], ["c", "d"]]),
        ("# Title\nby me\n## A\na\n## B\nb\n", [["a"], ["b"]]),
        ("no heading\n\nat all", [["no heading", "at all"]]),
    ],
)
def test_the_first_level_with_several_headings_makes_the_chapters(text, chapters):
    assert read(text, "markdown").chapters == chapters


def test_subtitles_are_prompts_in_the_order_of_their_times():
    assert read(SUBTITLES).chapters == [["A ship!", "Over the sea we go."]]
    web = "WEBVTT\n\n00:01.000 --> 00:02.000\nA ship!\n"
    assert read(web).chapters == [["A ship!"]] and read(web).text == "A ship!"


def test_what_is_no_subtitle_has_no_prompt():
    assert read("nothing", "subtitles").chapters == []


NAVIGATION = '<html xmlns:epub="e"><body><nav epub:type="toc"><ol>{}</ol></nav></body></html>'
ENTRIES = '<li><a href="text/a%20b.xhtml#one">One</a></li><li><a href="text/b.xhtml#two">Two</a></li>'
POINTS = '<navPoint><content src="text/a%20b.xhtml"/></navPoint><navPoint><content src="text/b.xhtml#two"/></navPoint>'


@pytest.mark.parametrize(
    "items, files",
    [
        (NAV, {"OEBPS/nav.xhtml": NAVIGATION.format(ENTRIES)}),
        (NAV, {"OEBPS/nav.xhtml": NAVIGATION.format(f'<li><a href="cover.xhtml">Book</a><ol>{ENTRIES}</ol></li>')}),
        (NCX, {"OEBPS/toc.ncx": f"<ncx><navMap>{POINTS}</navMap></ncx>"}),
        (NCX, {"OEBPS/toc.ncx": f'<ncx><navMap><navPoint><content src="x"/>{POINTS}</navPoint></navMap></ncx>'}),
    ],
)
def test_an_epub_has_the_chapters_of_its_contents(items, files):
    story = read_bytes(epub(items, files), "b.epub")
    assert story.chapters == CHAPTERS
    assert story.text.startswith("Printed by nobody\nOne\nA red ship in the sky\n")


def test_an_epub_without_contents_has_those_of_its_headings_else_of_its_pages():
    assert read_bytes(epub(), "b.epub").chapters == CHAPTERS
    plain = {name: page.replace("h1", "div") for name, page in PAGES.items()}
    assert [chapter[0] for chapter in read_bytes(epub(pages=plain), "b.epub").chapters] == [
        "Printed by nobody",
        "One",
        "still one",
    ]


def test_a_file_may_come_as_a_data_url():
    url = "data:application/epub+zip;base64," + base64.b64encode(epub()).decode()
    assert read(url).chapters == CHAPTERS
    with pytest.raises(InvalidParams, match="the data: URL cannot be read"):
        read(url[:-3] + "!")


ALIAS = '<!DOCTYPE p [<!ENTITY a "aaaaaaaaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]>'
LOCKED = "<e>" + "".join(f'<CipherReference URI="OEBPS/{name.replace(" ", "%20")}"/>' for name in PAGES) + "</e>"


@pytest.mark.parametrize(
    "data, message",
    [
        (b"PK\x03\x04 and no more", "b.epub is no EPUB that can be read: File is not a zip file"),
        (epub(files={"META-INF/container.xml": "<container/>"}), "b.epub is no EPUB that can be read"),
        (epub(files={"META-INF/container.xml": ""}), "META-INF/container.xml cannot be read"),
        (epub(pages={}), "b.epub is no EPUB that can be read: .*cover.xhtml"),
        (epub(files={"META-INF/encryption.xml": LOCKED}), r"b.epub: it is protected \(DRM\)"),
        (b"\x89PNG\0\0", "b.epub is no text"),
        (b"\xff\xfea", "b.epub is no text"),
    ],
    ids=range(7),
)
def test_a_file_that_cannot_be_read_is_told(data, message):
    with pytest.raises(InvalidParams, match=message):
        read_bytes(data, "b.epub")


def test_an_epub_that_unpacks_to_too_much_is_told(monkeypatch):
    monkeypatch.setattr("stable_core_plugin_sequence.epub.MAX_BYTES", 20_000)
    with pytest.raises(InvalidParams, match="its pages have over 20,000 bytes"):
        read_bytes(epub(pages=PAGES | {"cover.xhtml": "a" * 20_000}), "b.epub")


@pytest.mark.parametrize("page", ["", "<!-- nothing -->", "<?xml version='1.0'?>", "<!DOCTYPE html>", "<p></p>"])
def test_a_page_with_nothing_on_it_is_no_chapter(page):
    files = {"OEBPS/nav.xhtml": NAVIGATION.format(ENTRIES), "OEBPS/cover.xhtml": page}
    pages = {name: content for name, content in PAGES.items() if name != "cover.xhtml"}
    story = read_bytes(epub(NAV, files, pages), "b.epub")
    assert story.chapters == CHAPTERS


def test_an_epub_brings_in_no_file_of_this_machine():
    evil = ALIAS + PACKAGE.format(items=ITEMS.replace('id="cover"', 'id="&b;"'))
    with pytest.raises(InvalidParams, match="no EPUB"):
        read_bytes(epub(files={"OEBPS/book.opf": evil}), "b.epub")
    pages = PAGES | {"text/b.xhtml": "<p>x &b; y</p>"}
    assert "root:" not in read_bytes(epub(pages=pages), "b.epub").text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_books_may_have_older_encodings(encoding, tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes("ein Bär\r\nzwei".encode(encoding))
    assert read_book(path).chapters == [["ein Bär", "zwei"]]


def test_a_book_is_read_anew_when_its_file_has_changed(tmp_path):
    path = tmp_path / "book.md"
    path.write_text("# a\n\none")
    assert read_book(path).chapters == [["one"]] and read_book(path) is read_book(path)
    path.write_text("# a\n\none more")
    assert read_book(path).chapters == [["one more"]]
