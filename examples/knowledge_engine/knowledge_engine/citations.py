"""Citations that hold: a mark that a model writes counts only if it names a passage that the model was given."""

from __future__ import annotations

import re
from collections.abc import Sequence

from knowledge_engine.store import Found

MARK = re.compile(r"\[(S[0-9]+(?:[,;\s]*S[0-9]+)*)\]")
BEGINNING_OF_MARK = re.compile(r"\[[S0-9,;\s]*$")


class Citations:
    """Reads an answer as it streams in; lets its text through, without marks of passages that there are not."""

    def __init__(self, passages: Sequence[Found]) -> None:
        self._passages = {f"S{number}": found for number, found in enumerate(passages, start=1)}
        self._held = ""
        self.cited: dict[str, Found] = {}
        """What the answer rests on, by mark, in the order of first mention."""
        self.unknown: list[str] = []
        """Marks that the model made up; they are not in the text."""

    def take(self, piece: str) -> str:
        """The next text that can be shown. Pieces end anywhere, so what may become a mark is held back until it is."""
        text = self._held + piece
        begun = BEGINNING_OF_MARK.search(text)
        sure = begun.start() if begun else len(text)
        self._held = text[sure:]
        return MARK.sub(self._check, text[:sure])

    def rest(self) -> str:
        """What was held back when the answer ended."""
        held, self._held = self._held, ""
        return held

    def _check(self, marks: re.Match[str]) -> str:
        known = []
        for mark in re.findall("S[0-9]+", marks[1]):
            if mark in self._passages:
                known.append(f"[{mark}]")
                self.cited.setdefault(mark, self._passages[mark])
            elif mark not in self.unknown:
                self.unknown.append(mark)
        return "".join(known)
