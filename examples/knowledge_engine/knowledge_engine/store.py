"""Where chunks and their vectors are kept and found again: what every store can do, and one that is a single file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from knowledge_engine.chunks import Chunk

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    chunk: Chunk
    similarity: float
    """Cosine of the angle to what was looked for: 1 is the same direction."""


class Store(Protocol):
    """What ingestion and answers need of a search index."""

    def claim(self, space: str, dimensions: int) -> None:
        """Binds the index to an embedding space at its first use, and raises `OtherSpace` at any other ever after."""

    def missing(self, ids: Collection[str]) -> set[str]:
        """Those that are not in the index: what an interrupted run still has to do."""

    def add(self, rows: Iterable[tuple[Chunk, Vector]]) -> None:
        """Adds chunks, for good; adding one twice changes nothing."""

    def keep_only(self, document: str, ids: Collection[str]) -> None:
        """Removes what an earlier version of the document said."""

    def search(self, vector: Vector, limit: int) -> list[Found]:
        """The nearest chunks, nearest first."""

    def close(self) -> None: ...


class OtherSpace(Exception):
    """Vectors of two embedding models cannot be compared, yet a search would go through and find nonsense."""

    def __init__(self, index: str, offered: str) -> None:
        super().__init__(
            f"the index holds vectors of {index}, the model makes those of {offered}: use that model, or another index"
        )


class SqliteStore:
    """One file. Every vector is compared with the question's: below some hundred thousand chunks that takes
    milliseconds and finds exactly the nearest."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)
        self._db.executescript("""
            CREATE TABLE IF NOT EXISTS space (name TEXT NOT NULL, dimensions INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS chunk (
                id TEXT PRIMARY KEY, document TEXT NOT NULL, page INTEGER NOT NULL, text TEXT NOT NULL,
                vector BLOB NOT NULL  -- float32, little-endian, of length 1
            );
        """)

    def claim(self, space: str, dimensions: int) -> None:
        with self._db:
            self._db.execute(
                "INSERT INTO space SELECT ?, ? WHERE NOT EXISTS (SELECT * FROM space)", (space, dimensions)
            )
        (claimed,) = self._db.execute("SELECT name, dimensions FROM space").fetchall()
        if claimed != (space, dimensions):
            raise OtherSpace(*(f"{name} ({length} numbers)" for name, length in (claimed, (space, dimensions))))

    def missing(self, ids: Collection[str]) -> set[str]:
        return set(ids) - {id for (id,) in self._db.execute("SELECT id FROM chunk")}

    def add(self, rows: Iterable[tuple[Chunk, Vector]]) -> None:
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?)",
                (
                    (chunk.id, chunk.document, chunk.page, chunk.text, unit(vector).astype("<f4").tobytes())
                    for chunk, vector in rows
                ),
            )

    def keep_only(self, document: str, ids: Collection[str]) -> None:
        stored = self._db.execute("SELECT id FROM chunk WHERE document = ?", (document,)).fetchall()
        with self._db:
            self._db.executemany("DELETE FROM chunk WHERE id = ?", [row for row in stored if row[0] not in ids])

    def search(self, vector: Vector, limit: int) -> list[Found]:
        rows = self._db.execute("SELECT id, document, page, text, vector FROM chunk ORDER BY id").fetchall()
        if not rows:
            return []
        vectors = np.frombuffer(b"".join(row[4] for row in rows), dtype="<f4").reshape(len(rows), -1)
        similarities = vectors @ unit(vector)
        nearest = np.argsort(-similarities, kind="stable")[:limit]
        return [Found(Chunk(*rows[row][:4]), float(similarities[row])) for row in nearest]

    def close(self) -> None:
        self._db.close()


def unit(vector: Vector) -> Vector:
    """Of length 1, so that a product of two is their cosine. Shortened vectors do not come so."""
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
