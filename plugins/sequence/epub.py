"""EPUBs: their pages in order, cut into chapters where the table of contents says so."""

import contextlib
import io
import posixpath
import re
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from core.plugin import InvalidParams

from .reading import MAX_BYTES, Block, chapters_of

Place = tuple[str, str]  # a page and an id in it, or nothing

BLOCKS = {
    *"p div section article blockquote ul ol li dl dt dd pre center body main table tr td th figure".split(),
    *"figcaption header footer aside hr h1 h2 h3 h4 h5 h6".split(),
}
SILENT = {"script", "style", "head", "nav", "rt", "rp", "svg", "math"}


def blocks_of(data: bytes, name: str) -> tuple[list[list[str]], str]:
    """The chapters with their paragraphs, and the whole text, a line for each paragraph or heading."""
    try:
        return _Book(data).read()
    except InvalidParams as error:
        raise InvalidParams(f"{name}: {error}", field="book") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidParams(f"{name} is no EPUB that can be read: {error}.", field="book") from error


class _Book:
    def __init__(self, data: bytes):
        self._zip, self._left = zipfile.ZipFile(io.BytesIO(data)), MAX_BYTES

    def read(self) -> tuple[list[list[str]], str]:
        package = "".join(each.get("full-path", "") for each in _all(self._xml("META-INF/container.xml"), "rootfile"))
        self._root, self._place = self._xml(package), posixpath.dirname(package)
        self._items = {item.get("id"): item for item in _all(self._root, "item")}
        order = [self._items[item.get("idref")] for item in _all(self._root, "itemref")]
        pages = [self._path(self._place, item.get("href", "")) for item in order]
        if pages and set(pages) <= self._locked():
            raise InvalidParams("it is protected (DRM). Use a copy that is not.")
        places, found = self._contents(), []
        for page in pages:
            found += [*([] if places else [None]), *self._page(page, places)]
        blocks = [block for block in found if block]
        if not places and any(level for level, _ in blocks):
            chapters = chapters_of(blocks)
        else:
            chapters = _chapters(found)
        return chapters, "\n".join(text for _, text in blocks)

    def _bytes(self, path: str) -> bytes:
        with self._zip.open(path) as file:  # what the archive says of sizes need not be true
            data = file.read(self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidParams(f"its pages have over {MAX_BYTES:,} bytes.")
        return data

    def _xml(self, path: str) -> Any:
        from lxml import etree

        try:
            return etree.fromstring(self._bytes(path), etree.XMLParser(resolve_entities=False, recover=True))
        except etree.XMLSyntaxError as error:
            raise InvalidParams(f"{path} cannot be read: {error}.") from error

    def _path(self, place: str, href: str) -> str:
        return posixpath.normpath(posixpath.join(place, urllib.parse.unquote(href.partition("#")[0])))

    def _locked(self) -> set[str]:
        if "META-INF/encryption.xml" not in self._zip.namelist():
            return set()
        return {
            self._path("", each.get("URI", ""))
            for each in _all(self._xml("META-INF/encryption.xml"), "CipherReference")
        }

    def _contents(self) -> set[Place]:
        """Where chapters begin: pages, and ids in them; empty if there is no table of contents."""
        for item in self._items.values():
            if "nav" in (item.get("properties") or "").split():
                path = self._path(self._place, item.get("href", ""))
                tables = [*_all(self._xml(path), "nav")]
                tables = [each for each in tables if "toc" in str(_attribute(each, "type"))] or tables
                return self._targets(path, next(_all(tables[0], "ol"), None), "li", "a", "href") if tables else set()
            if item.get("media-type") == "application/x-dtbncx+xml":
                path = self._path(self._place, item.get("href", ""))
                return self._targets(path, next(_all(self._xml(path), "navMap"), None), "navPoint", "content", "src")
        return set()

    def _targets(self, path: str, entries: Any, entry: str, link: str, to: str) -> set[Place]:
        """Of the outermost entries; where there is but one, of those inside it."""
        items: list[Any] = []
        while entries is not None:
            items = [each for each in entries if _name(each) == entry]
            inner = [items[0], *items[0]] if len(items) == 1 else []
            entries = next((each for each in inner if any(_name(deeper) == entry for deeper in each)), None)
        links = [next((each for each in item if _name(each) == link), None) for item in items]
        targets = [each.get(to, "") for each in links if each is not None]
        place = posixpath.dirname(path)
        return {(self._path(place, each), urllib.parse.unquote(each.partition("#")[2])) for each in targets}

    def _page(self, path: str, places: set[Place]) -> Iterator[Block | None]:
        """Its blocks, and None where a chapter begins."""
        import lxml.etree
        import lxml.html

        data = self._bytes(path)
        words: list[str] = []

        def said(level: int) -> Iterator[Block]:
            if text := " ".join("".join(words).split()):
                yield level, text
            words.clear()

        def walk(element: Any, level: int) -> Iterator[Block | None]:
            name = element.tag if isinstance(element.tag, str) else ""
            if name in BLOCKS:
                yield from said(level)
                level = int(name[1]) if re.fullmatch("h[1-6]", name) else level
            if (path, element.get("id")) in places:
                yield from said(level)
                yield None
            if name and name not in SILENT:
                words.append(element.text or "")
                for child in element:
                    yield from walk(child, level)
                    words.append(child.tail or "")
                words.append(" " if name == "br" else "")
            if name in BLOCKS:
                yield from said(level)

        if (path, "") in places:
            yield None
        with contextlib.suppress(lxml.etree.ParserError):  # there is nothing on it
            page = lxml.html.document_fromstring(data, lxml.html.HTMLParser(encoding="utf-8"))
            yield from walk(page, 0)


def _chapters(found: list[Block | None]) -> list[list[str]]:
    """What precedes the first is the cover, the title and the imprint."""
    chapters: list[list[str]] = []
    for block in found:
        if block is None:
            chapters.append([])
        elif chapters and not block[0]:
            chapters[-1].append(block[1])
    return [chapter for chapter in chapters if chapter]


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _all(element: Any, name: str) -> Iterator[Any]:
    return (each for each in element.iter() if _name(each) == name) if element is not None else iter(())


def _attribute(element: Any, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)
