"""An OpenAI-compatible server of embeddings: python embedding_server.py --port PORT [--floats-only]

`--floats-only`: like many such servers it does not know base64, whatever it is asked for.
"""

from __future__ import annotations

import argparse
import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from minilm import MiniLm, TooLong

MODEL = "all-minilm-l6-v2"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: MiniLm
    floats_only: bool

    def do_GET(self) -> None:
        self._answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/openai/v1/embeddings" or request["model"] != MODEL:
            return self._answer(404, {"detail": "Not Found"})
        as_floats = self.floats_only or request.get("encoding_format") != "base64"
        texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
        tokenized = [self.model.tokens(text) for text in texts]
        try:
            vectors = [self.model.vector(tokens) for tokens in tokenized]
        except TooLong:
            error = {"message": "input is longer than 256 tokens", "type": "invalid_request_error"}
            return self._answer(400, {"error": error | {"param": None, "code": "context_length_exceeded"}})
        encoded = [vector.tolist() if as_floats else base64.b64encode(vector).decode() for vector in vectors]
        data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(encoded)]
        used = sum(map(len, tokenized))
        usage = {"prompt_tokens": used, "total_tokens": used}
        self._answer(200, {"object": "list", "data": data, "model": MODEL, "usage": usage})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--floats-only", action="store_true")
    arguments = parser.parse_args()
    Handler.model, Handler.floats_only = MiniLm(), arguments.floats_only
    ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
