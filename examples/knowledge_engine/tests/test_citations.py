"""Marks in answers: whole, in pieces, made up."""

import pytest

from knowledge_engine.chunks import Chunk
from knowledge_engine.citations import Citations
from knowledge_engine.store import Found

PASSAGES = [Found(Chunk(f"id-{number}", "a.pdf", number, "text"), 0.5) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("answer", "shown", "cited", "unknown"),
    [
        ("It is free [S1].", "It is free [S1].", ["S1"], []),
        ("Both [S3][S1], both [S3].", "Both [S3][S1], both [S3].", ["S3", "S1"], []),
        ("Lists [S1, S2] too [S2;S3].", "Lists [S1][S2] too [S2][S3].", ["S1", "S2", "S3"], []),
        ("Made up [S4][S0], or half [S2, S77].", "Made up , or half [S2].", ["S2"], ["S4", "S0", "S77"]),
        ("No mark: [1] [Sx] [S] S1 [S1", "No mark: [1] [Sx] [S] S1 [S1", [], []),
        ("nothing", "nothing", [], []),
        ("", "", [], []),
    ],
)
def test_marks(answer: str, shown: str, cited: list[str], unknown: list[str]) -> None:
    for size in (1, 2, 5, 100):
        citations = Citations(PASSAGES)
        pieces = [citations.take(answer[start : start + size]) for start in range(0, len(answer), size)]
        assert "".join([*pieces, citations.rest()]) == shown
        assert list(citations.cited) == cited
        assert citations.unknown == unknown


def test_text_is_not_held_back_without_need() -> None:
    citations = Citations(PASSAGES)
    assert [citations.take(piece) for piece in ("plain ", "text [", "S2", "]", " more")] == [
        "plain ", "text ", "", "[S2]", " more",
    ]  # fmt: skip
    assert citations.cited["S2"] is PASSAGES[1]
