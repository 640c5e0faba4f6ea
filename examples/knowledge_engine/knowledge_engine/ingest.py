"""PDF files -> chunks -> vectors -> the index. A run that was interrupted goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import sealane

from knowledge_engine import chunks, pdf
from knowledge_engine.chunks import Chunk
from knowledge_engine.store import Store, Vector

BATCH = 100
"""Chunks that are written at once: what an interruption may cost."""

Show = Callable[[str], None]


@dataclass
class Ingested:
    """What a run did."""

    chunks: int = 0
    """In the files."""
    known: int = 0
    """Of these, in the index before."""
    added: int = 0
    refused: list[str] = field(default_factory=list)
    """Chunks that no region takes, such as those that its content filter refuses: where they are, and why not."""


def ingest(
    client: sealane.Client, model: str, files: Iterable[Path], store: Store, run: sealane.Workflow, show: Show
) -> Ingested:
    """Brings the index to where it holds exactly these files' text; other documents stay as they are."""
    documents = {file.name: [chunk for page in pdf.pages(file) for chunk in chunks.split(page)] for file in files}
    by_id = {chunk.id: chunk for document in documents.values() for chunk in document}
    sample = client.embed(model, "Which space is this?", workflow=run)
    store.claim(sample.embedding_space, sample.dimensions)

    missing = store.missing(by_id)
    done = Ingested(chunks=len(by_id), known=len(by_id) - len(missing))
    results = embed(client, model, [by_id[id] for id in by_id if id in missing], run, done)
    while batch := list(islice(results, BATCH)):
        store.add(batch)
        done.added += len(batch)
        show(f"{done.known + done.added}/{done.chunks} chunks\n")
    for name, document in documents.items():
        store.keep_only(name, [chunk.id for chunk in document])
    return done


def embed(
    client: sealane.Client, model: str, wanted: Sequence[Chunk], run: sealane.Workflow, done: Ingested
) -> Iterator[tuple[Chunk, Vector]]:
    """The chunks with their vectors, in any order. Those that are refused cost only themselves."""
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        reply = client.embed(
            model,
            [chunk.text for chunk in batch],
            encoding="VECTOR_ENCODING_FLOAT32_LE_BYTES",
            routing={"priority": "PRIORITY_BULK"},
            workflow=run,
        )
        yield from zip(batch, sealane.as_array(reply), strict=True)
