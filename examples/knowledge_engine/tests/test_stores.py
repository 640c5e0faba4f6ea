"""What both stores promise."""

import numpy as np
import pytest
from fake_elastic import FakeElastic

from knowledge_engine.chunks import Chunk
from knowledge_engine.elastic import ElasticError, ElasticStore
from knowledge_engine.store import OtherSpace, Store, Vector

CHUNKS = [Chunk(f"id-{number}", "a.pdf" if number < 3 else "b.pdf", number, f"text {number}") for number in range(5)]
ANGLES = [0.0, 0.5, 1.0, 2.0, 3.0]


def vector(angle: float, length: float = 1.0) -> Vector:
    return np.array([length * np.cos(angle), length * np.sin(angle)], dtype=np.float32)


def fill(store: Store) -> None:
    store.claim("model-a/1/2", 2)
    # Of different lengths: only the direction counts.
    store.add((chunk, vector(angle, 1 + chunk.page)) for chunk, angle in zip(CHUNKS, ANGLES, strict=True))


def test_the_nearest_come_first_with_their_cosine(store: Store) -> None:
    fill(store)
    found = store.search(vector(0.6, length=9), limit=3)
    assert [one.chunk for one in found] == [CHUNKS[1], CHUNKS[2], CHUNKS[0]]
    assert [one.similarity for one in found] == pytest.approx([np.cos(0.1), np.cos(0.4), np.cos(0.6)], abs=1e-6)


def test_an_empty_index_finds_nothing(store: Store) -> None:
    store.claim("model-a/1/2", 2)
    assert store.search(vector(0), limit=3) == []


def test_what_is_missing_and_adding_twice(store: Store) -> None:
    fill(store)
    store.add([(CHUNKS[0], vector(0.0))])
    assert store.missing(["id-0", "id-4", "id-9"]) == {"id-9"}
    assert len(store.search(vector(0), limit=99)) == len(CHUNKS)


def test_only_what_a_document_no_longer_says_goes(store: Store) -> None:
    fill(store)
    store.keep_only("a.pdf", ["id-1"])
    assert store.missing([chunk.id for chunk in CHUNKS]) == {"id-0", "id-2"}


@pytest.mark.parametrize("other", [("model-b/1/2", 2), ("model-a/1/2", 3)])
def test_two_embedding_spaces_do_not_mix(store: Store, other: tuple[str, int]) -> None:
    fill(store)
    store.claim("model-a/1/2", 2)
    with pytest.raises(OtherSpace, match=r"model-a/1/2 \(2 numbers\)"):
        store.claim(*other)


def test_elasticsearch_has_a_fitting_mapping_and_takes_batches(elastic: FakeElastic) -> None:
    store = ElasticStore(elastic.index, api_key="a-key-of-the-tests")
    store.claim("model-a/1/2", 2)
    assert elastic.mappings is not None
    expected = {"type": "dense_vector", "dims": 2, "index": True, "similarity": "cosine"}
    assert elastic.mappings["properties"]["vector"] == expected
    store.add((Chunk(f"{number}", "a.pdf", 1, "text"), vector(number)) for number in range(450))
    assert (elastic.bulk_requests, len(elastic.documents)) == (3, 450)
    elastic.full = True
    with pytest.raises(ElasticError, match="5 of 5 chunks refused"):
        fill(store)


def test_elasticsearchs_refusal_is_told(elastic: FakeElastic) -> None:
    with pytest.raises(ElasticError, match="401"):
        ElasticStore(elastic.index).claim("model-a/1/2", 2)
