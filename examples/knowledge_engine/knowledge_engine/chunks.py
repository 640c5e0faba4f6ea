"""Pages -> pieces small enough to embed, large enough to mean something."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from knowledge_engine.pdf import Page

SIZE = 900
"""Characters in a chunk at most: about 225 tokens, well below any model's limit."""
OVERLAP = 150
"""Characters that a chunk repeats of the one before, so that no sentence is lost in between."""


@dataclass(frozen=True)
class Chunk:
    id: str
    """A fingerprint of place and text: the same chunk has the same id in every run, and a changed one has not."""
    document: str
    page: int
    text: str


def split(page: Page, size: int = SIZE, overlap: int = OVERLAP) -> Iterator[Chunk]:
    """A page's chunks, broken after a sentence or at least between words. No chunk spans two pages: a citation can
    then name its page."""
    if not 0 <= overlap < size // 2:
        raise ValueError("the overlap must be less than half of the size")
    start, text = 0, page.text
    while start < len(text):
        end = _end(text, start, size)
        yield _chunk(page, start, text[start:end].strip())
        if end == len(text):
            return
        start = max(text.find(" ", end - overlap, end) + 1, end - overlap)


def _end(text: str, start: int, size: int) -> int:
    """Where a chunk that begins at `start` ends: in its second half, if there is a good place."""
    limit = start + size
    if limit >= len(text):
        return len(text)
    for boundary in (". ", " "):
        if (found := text.rfind(boundary, start + size // 2, limit)) >= 0:
            return found + 1
    return limit


def _chunk(page: Page, start: int, text: str) -> Chunk:
    place = f"{page.document}\0{page.number}\0{start}\0{text}"
    return Chunk(hashlib.sha256(place.encode()).hexdigest()[:16], page.document, page.number, text)
