"""PDF files -> chunks -> vectors -> the index. A run that was interrupted goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import sealane

from knowledge_engine import chunks, pdf
from knowledge_engine.chunks import Chunk
from knowledge_engine.store import Store

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
    regions: dict[str, int] = field(default_factory=dict)
    """How many vectors each region made."""
    refused: list[str] = field(default_factory=list)
    """Files that cannot be read, and chunks that no region takes, such as those that its content filter refuses: where
    they are, and why not."""


def ingest(
    client: sealane.Client, model: str, files: Iterable[Path], store: Store, run: sealane.Workflow, show: Show
) -> Ingested:
    """Brings the index to where it holds exactly these files' text; other documents stay as they are, and so do those
    whose file cannot be read now."""
    documents: dict[str, list[Chunk]] = {}
    refused: list[str] = []
    for file in files:
        try:
            documents[file.name] = [chunk for page in pdf.pages(file) for chunk in chunks.split(page)]
        except pdf.Unreadable as error:
            refused.append(str(error))
    by_id = {chunk.id: chunk for document in documents.values() for chunk in document}
    missing = store.missing(by_id)
    done = Ingested(chunks=len(by_id), known=len(by_id) - len(missing), refused=refused)
    wanted = ((id, chunk.text) for id, chunk in by_id.items() if id in missing)
    with client.embed_many(wanted, model=model, workflow=run) as answers:
        while batch := list(islice(answers, BATCH)):
            if rows := [(by_id[answer.id], answer.vector) for answer in batch if answer.error is None]:
                store.claim(answers.summary.embedding_space, answers.summary.dimensions)
                store.add(rows)
            done.added += len(rows)
            done.refused += [_refusal(by_id[answer.id], answer) for answer in batch if answer.error is not None]
            show(f"{done.known + done.added}/{done.chunks} chunks\n")
    done.regions = answers.summary.items_by_region
    for name, document in documents.items():
        store.keep_only(name, [chunk.id for chunk in document])
    return done


def _refusal(chunk: Chunk, answer: sealane.EmbeddedItem) -> str:
    return f"{chunk.document}, page {chunk.page} (chunk {chunk.id}): {answer.error}"
