"""As much of Elasticsearch's HTTP interface as the example uses, strict about what it is sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


class FakeElastic:
    """One index, on a free port of loopback."""

    def __init__(self) -> None:
        self.mappings: dict[str, Any] | None = None
        self.documents: dict[str, dict[str, Any]] = {}
        self.bulk_requests = 0
        self.full = False
        """From now on it refuses every document of a bulk request, and answers 200, as the real one does."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                allowed = self.headers.get("Authorization") == "ApiKey a-key-of-the-tests"
                path = self.path.split("?")[0]
                status, answer = fake.answer(self.command, path, body) if allowed else (401, {"error": "who are you?"})
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.index = f"http://127.0.0.1:{self._server.server_port}/knowledge"

    def __enter__(self) -> FakeElastic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        operation = f"{method} {path.removeprefix('/knowledge')}"
        if operation == "PUT ":
            self.mappings = json.loads(body)["mappings"]
            return 200, {"acknowledged": True}
        if self.mappings is None:
            return 404, {"error": {"type": "index_not_found_exception"}}
        if operation == "GET /_mapping":
            return 200, {"knowledge": {"mappings": self.mappings}}
        if operation == "POST /_bulk":
            return 200, self._bulk(body)
        request = json.loads(body)
        if operation == "POST /_mget":
            return 200, {"docs": [{"_id": id, "found": id in self.documents} for id in request["ids"]]}
        if operation == "POST /_delete_by_query":
            query = request["query"]["bool"]
            name, kept = query["filter"]["term"]["document"], query["must_not"]["ids"]["values"]
            gone = [id for id, one in self.documents.items() if one["document"] == name and id not in kept]
            for id in gone:
                del self.documents[id]
            return 200, {"deleted": len(gone)}
        if operation == "POST /_search":
            return 200, self._search(request["knn"])
        return 400, {"error": f"not in the fake: {operation}"}

    def _bulk(self, body: bytes) -> dict[str, Any]:
        assert body.endswith(b"\n"), "a bulk request ends with a line feed"
        assert self.mappings is not None
        self.bulk_requests += 1
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            id = action["index"]["_id"]
            fits = set(source) == set(self.mappings["properties"])
            fits &= len(source["vector"]) == self.mappings["properties"]["vector"]["dims"]
            if fits and not self.full:
                self.documents[id] = source
                items.append({"index": {"_id": id, "status": 201}})
            else:
                items.append({"index": {"_id": id, "status": 400, "error": {"type": "document_parsing_exception"}}})
        return {"errors": any("error" in item["index"] for item in items), "items": items}

    def _search(self, knn: dict[str, Any]) -> dict[str, Any]:
        wanted = np.array(knn["query_vector"])
        hits = []
        for id, source in self.documents.items():
            vector = np.array(source["vector"])
            cosine = vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted)
            shown = {name: value for name, value in source.items() if name != "vector"}
            hits.append({"_id": id, "_score": (1 + cosine) / 2, "_source": shown})
        hits.sort(key=lambda hit: -hit["_score"])
        return {"hits": {"hits": hits[: knn["k"]]}}
