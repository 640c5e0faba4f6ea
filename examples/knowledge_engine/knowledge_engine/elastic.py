"""The same over Elasticsearch 8 or newer, in plain HTTP: there is no client to keep in step with it."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

from knowledge_engine.chunks import Chunk
from knowledge_engine.store import Found, OtherSpace, Vector

T = TypeVar("T")

BATCH = 200
"""Chunks in one bulk request: some megabytes, as Elasticsearch likes them."""


class ElasticError(Exception):
    """Elasticsearch refused; carries what it said."""


class ElasticStore:
    """An index with a `dense_vector` field. The embedding space stands in the mapping's `_meta`."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """`url`: of the index, such as `https://search.example.com:9200/knowledge`."""
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"ApiKey {api_key}"} if api_key else {}

    def claim(self, space: str, dimensions: int) -> None:
        if self._ask("GET", "/_mapping", absent_is_none=True) is None:
            vector = {"type": "dense_vector", "dims": dimensions, "index": True, "similarity": "cosine"}
            fields = {"document": "keyword", "page": "integer", "text": "text"}
            properties = {name: {"type": kind} for name, kind in fields.items()} | {"vector": vector}
            meta = {"embedding_space": space, "dimensions": dimensions}
            self._ask("PUT", "", {"mappings": {"_meta": meta, "properties": properties}})
        (index,) = self._ask("GET", "/_mapping").values()
        meta = index["mappings"].get("_meta", {})
        claimed = (meta.get("embedding_space"), meta.get("dimensions"))
        if claimed != (space, dimensions):
            raise OtherSpace(*(f"{name} ({length} numbers)" for name, length in (claimed, (space, dimensions))))

    def missing(self, ids: Collection[str]) -> set[str]:
        absent = set[str]()
        for batch in _batches(sorted(ids)):
            found = self._ask("POST", "/_mget?_source=false", {"ids": batch}, absent_is_none=True)
            if found is None:  # there is no index yet
                return set(ids)
            absent.update(document["_id"] for document in found["docs"] if not document.get("found"))
        return absent

    def add(self, rows: Iterable[tuple[Chunk, Vector]]) -> None:
        for batch in _batches(rows):
            lines: list[Any] = []
            for chunk, vector in batch:
                source = asdict(chunk) | {"vector": vector.tolist()}
                lines += [{"index": {"_id": source.pop("id")}}, source]
            answer = self._ask("POST", "/_bulk?refresh=wait_for", lines)
            # A bulk request succeeds as a whole even if nothing in it did.
            if refused := [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]:
                raise ElasticError(f"{len(refused)} of {len(batch)} chunks refused, the first: {refused[0]}")

    def keep_only(self, document: str, ids: Collection[str]) -> None:
        of_document = {"filter": {"term": {"document": document}}, "must_not": {"ids": {"values": sorted(ids)}}}
        self._ask("POST", "/_delete_by_query?refresh=true", {"query": {"bool": of_document}}, absent_is_none=True)

    def search(self, vector: Vector, limit: int) -> list[Found]:
        nearest = {"field": "vector", "query_vector": vector.tolist(), "k": limit, "num_candidates": 20 * limit}
        answer = self._ask("POST", "/_search", {"knn": nearest, "size": limit, "_source": {"excludes": ["vector"]}})
        # Its score for cosine similarity is (1 + cosine) / 2.
        return [Found(Chunk(hit["_id"], **hit["_source"]), 2 * hit["_score"] - 1) for hit in answer["hits"]["hits"]]

    def close(self) -> None:
        """Nothing stays open."""

    def _ask(self, method: str, path: str, body: Any = None, absent_is_none: bool = False) -> Any:
        """One request; a list is sent as one JSON value a line."""
        data, kind = None, "application/json"
        if isinstance(body, list):
            data, kind = "".join(json.dumps(line) + "\n" for line in body).encode(), "application/x-ndjson"
        elif body is not None:
            data = json.dumps(body).encode()
        headers = self._headers | {"Content-Type": kind}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self._url + path, data, headers, method=method), timeout=60
            ) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404 and absent_is_none:
                return None
            said = error.read(500).decode(errors="replace")
            raise ElasticError(f"{method} {path or '/'}: {error.code} {said}") from error


def _batches(items: Iterable[T]) -> Iterable[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch
