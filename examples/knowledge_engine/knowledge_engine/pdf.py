"""PDF files -> the text of their pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pypdf import PdfReader


@dataclass(frozen=True)
class Page:
    document: str
    """The file's name."""
    number: int
    """As a reader counts them: the first is 1."""
    text: str


class Unreadable(Exception):
    """This file is no PDF that can be read."""


def find(path: Path) -> list[Path]:
    """The file itself, or every PDF below the folder. Two files of one name could not be told apart in a citation."""
    found = sorted(path.rglob("*.pdf")) if path.is_dir() else [path]
    names = [file.name for file in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several files are named {', '.join(twice)}")
    return found


def pages(file: Path) -> list[Page]:
    """The pages that hold text; one that is only a picture would need OCR and is left out."""
    try:
        texts = [" ".join(page.extract_text().split()) for page in PdfReader(file).pages]
    except Exception as error:  # pypdf raises whatever a broken file leads it to
        raise Unreadable(f"{file} cannot be read: {error or type(error).__name__}") from error
    return [Page(file.name, number, text) for number, text in enumerate(texts, start=1) if text]
