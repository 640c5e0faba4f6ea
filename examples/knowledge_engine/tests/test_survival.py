"""The user's day: the primary dies in the middle of an ingestion, and in the middle of an answer."""

from __future__ import annotations

from pathlib import Path

import make
import numpy as np
import pytest
import sealane
from conftest import SAMPLES
from running_service import PRIMARY, STANDBY, Service

from knowledge_engine import ingest as ingestion
from knowledge_engine import pdf
from knowledge_engine.answer import Answer, NothingFound, ask
from knowledge_engine.ingest import Ingested, ingest
from knowledge_engine.store import OtherSpace, SqliteStore, Store

CHAT, EMBEDDING = "gpt-4o", "text-embedding-3-large"
QUESTION = "When is the port closed?"


def unseen(_: str) -> None:
    """Shows nobody anything."""


def read_samples(client: sealane.Client, store: Store, run: sealane.Workflow) -> Ingested:
    return ingest(client, EMBEDDING, pdf.find(SAMPLES), store, run, unseen)


def question(client: sealane.Client, store: Store, show: ingestion.Show = unseen) -> Answer:
    return ask(client, CHAT, EMBEDDING, QUESTION, store, sealane.Workflow(), show)


def test_from_pdfs_to_an_answer(client: sealane.Client, store: Store) -> None:
    run = sealane.Workflow("a-run-of-the-tests")
    assert read_samples(client, store, run) == Ingested(chunks=6, known=0, added=6, regions={PRIMARY: 6})
    assert run.pinned_region == PRIMARY
    assert read_samples(client, store, run) == Ingested(chunks=6, known=6, added=0)
    shown: list[str] = []
    answer = question(client, store, shown.append)
    assert answer.text == "".join(shown) != ""
    assert (answer.region, answer.failed_regions, answer.cut_short) == (PRIMARY, [], "")


def test_a_file_that_cannot_be_read_costs_only_itself(
    client: sealane.Client, sqlite_store: Store, tmp_path: Path
) -> None:
    good, broken = tmp_path / "good.pdf", tmp_path / "broken.pdf"
    good.write_bytes(make.pdf(make.FERRY))
    broken.write_bytes(b"no PDF at all")
    done = ingest(client, EMBEDDING, pdf.find(tmp_path), sqlite_store, sealane.Workflow(), unseen)
    assert done.added == done.chunks > 0
    assert len(done.refused) == 1 and "broken.pdf cannot be read" in done.refused[0]


def test_the_primary_dies_during_an_ingestion(real: Service, client: sealane.Client, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    page = "Nobody reads page {number} of volume {volume}, and so it says what it likes, at some length. "
    for volume in range(4):
        pages = [page.format(number=number, volume=volume) * 30 for number in range(150)]
        (folder / f"{volume}.pdf").write_bytes(make.pdf(pages))
    files = pdf.find(folder)

    undisturbed, disturbed = (SqliteStore(tmp_path / name) for name in ("undisturbed.sqlite", "disturbed.sqlite"))
    calm = ingest(client, EMBEDDING, files, undisturbed, sealane.Workflow(), unseen)
    real.primary.die_after(requests=1)  # there are more tokens than one batch may have
    done = ingest(client, EMBEDDING, files, disturbed, sealane.Workflow(), unseen)
    assert (done.added, done.refused) == (calm.added, [])
    assert done.regions.keys() == {PRIMARY, STANDBY}, "both had a part in it"
    anything = np.ones(3072, dtype=np.float32)
    nearest = [store.search(anything, limit=10_000) for store in (undisturbed, disturbed)]
    assert len(nearest[0]) == done.chunks and nearest[0] == nearest[1], "as in a run without trouble"
    for store in (undisturbed, disturbed):
        store.close()


def test_the_primary_dies_during_an_answer(real: Service, client: sealane.Client, sqlite_store: Store) -> None:
    read_samples(client, sqlite_store, sealane.Workflow())
    real.primary.fault("latency", per_token_ms=30)
    shown: list[str] = []

    def watch(text: str) -> None:
        shown.append(text)
        if len(shown) == 3:
            real.primary.fault("down")

    answer = question(client, sqlite_store, watch)
    assert (answer.region, answer.failed_regions, answer.cut_short) == (STANDBY, [PRIMARY], "")
    restart = shown.index(f"\n[{PRIMARY} failed; the answer begins anew]\n")
    assert restart >= 3 and "".join(shown[restart + 1 :]) == answer.text != ""


def test_an_interrupted_ingestion_goes_on_where_it_stopped(
    real: Service, client: sealane.Client, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "BATCH", 2)

    class PowerCut(Exception):
        pass

    def cut(text: str) -> None:
        raise PowerCut

    with pytest.raises(PowerCut):
        ingest(client, EMBEDDING, pdf.find(SAMPLES), sqlite_store, sealane.Workflow(), cut)
    assert read_samples(client, sqlite_store, sealane.Workflow()) == Ingested(6, known=2, added=4, regions={PRIMARY: 4})


def test_what_must_not_go_on(client: sealane.Client, sqlite_store: Store) -> None:
    with pytest.raises(NothingFound):
        question(client, sqlite_store)
    read_samples(client, sqlite_store, sealane.Workflow())
    sqlite_store._db.execute("UPDATE space SET name = 'text-embedding-ada-002/2/1536'")  # type: ignore[attr-defined]
    with pytest.raises(OtherSpace, match="ada-002"):
        question(client, sqlite_store)
    sqlite_store.keep_only("island-ferry.pdf", [])
    with pytest.raises(OtherSpace, match="ada-002"):
        read_samples(client, sqlite_store, sealane.Workflow())
