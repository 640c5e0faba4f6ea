"""PDFs to chunks."""

from pathlib import Path

import make
import pytest
from conftest import SAMPLES

from knowledge_engine import pdf
from knowledge_engine.chunks import split
from knowledge_engine.pdf import Page


def test_a_pdfs_pages_have_their_text_and_number(tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(make.pdf(["First page, with (brackets) and a \\.", "   ", "Third page. " * 60]))
    assert [(page.document, page.number) for page in pdf.pages(file)] == [("a.pdf", 1), ("a.pdf", 3)]
    first, third = (page.text for page in pdf.pages(file))
    assert first == "First page, with (brackets) and a \\."
    assert third == ("Third page. " * 60).strip()


def test_the_samples_are_what_the_script_writes() -> None:
    assert (SAMPLES / "harbour-handbook.pdf").read_bytes() == make.pdf(make.HANDBOOK)
    assert (SAMPLES / "island-ferry.pdf").read_bytes() == make.pdf(make.FERRY)
    assert [file.name for file in pdf.find(SAMPLES)] == ["harbour-handbook.pdf", "island-ferry.pdf"]


@pytest.mark.parametrize("content", [b"", b"no PDF at all", make.pdf(make.FERRY)[:300]], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_pdf_says_which_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.pdf"
    file.write_bytes(content)
    with pytest.raises(pdf.Unreadable, match=r"broken\.pdf cannot be read: ."):
        pdf.pages(file)


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.pdf").touch()
    with pytest.raises(ValueError, match=r"same\.pdf"):
        pdf.find(tmp_path)


NUMBERS = [str(number) for number in range(1000, 2000)]


@pytest.mark.parametrize(
    "text",
    ["short", ". ".join(NUMBERS), " ".join(NUMBERS), "".join(NUMBERS), ". ".join(NUMBERS[:60]) + "".join(NUMBERS[60:])],
    ids=["one chunk", "sentences", "no full stop", "no space", "mixed"],
)
def test_chunks_cover_the_page_within_their_size(text: str) -> None:
    page = Page("a.pdf", 7, text)
    chunks = list(split(page, size=300, overlap=60))
    assert all(0 < len(chunk.text) <= 300 and chunk.page == 7 for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    # Every chunk begins within, or right after, the one before: nothing is lost.
    end = 0
    for chunk in chunks:
        start = page.text.index(chunk.text)
        assert start <= end + 1
        end = start + len(chunk.text)
    assert end == len(page.text)


def test_ids_say_whether_a_chunk_changed() -> None:
    (one,) = split(Page("a.pdf", 1, "The fee is 4 crowns."))
    assert one == next(split(Page("a.pdf", 1, "The fee is 4 crowns.")))
    for other in (("a.pdf", 1, "The fee is 5 crowns."), ("a.pdf", 2, one.text), ("b.pdf", 1, one.text)):
        assert next(split(Page(*other))).id != one.id
