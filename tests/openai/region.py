"""One simulated Azure region: a process of the `sealane` binary, and its control API."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SEALANE_BIN") or REPOSITORY / "target" / "debug" / "sealane")

KEY = "a-key-of-the-openai-tests"
TOKEN = "an-entra-token-of-the-openai-tests"

# `small` has a window that a test can overflow; `gpt-5-nano` reasons.
REGION = {
    "region": "swedencentral",
    "keys": [KEY],
    "bearer_tokens": [TOKEN],
    "deployments": [
        {"name": "gpt-4o", "model": "gpt-4o", "version": "2024-11-20"},
        {"name": "small", "model": "gpt-4.1-mini", "version": "2025-04-14", "context_window": 100},
        {"name": "gpt-5-nano", "model": "gpt-5-nano", "version": "2025-08-07", "reasoning": True},
        {"name": "embed-3", "model": "text-embedding-3-large", "version": "1", "kind": "embedding"},
    ],
}


class Region:
    """Where the region answers, and how its faults are switched."""

    def __init__(self, endpoint: str, control: str) -> None:
        self.endpoint, self._control = endpoint, control

    def fault(self, kind: str, *, times: int | None = None, **settings: Any) -> None:
        """From now on, `kind` happens to requests, or to so many of them."""
        self._ask("POST", {"fault": {"kind": kind, **settings}, **({"times": times} if times else {})})

    def heal(self) -> None:
        """No faults any more."""
        self._ask("DELETE")

    def _ask(self, method: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._control}/_simulator/faults", data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()


@contextmanager
def running(folder: Path) -> Iterator[Region]:
    """Starts the region on a free loopback port; its settings and its log are in `folder`."""
    if not BINARY.exists():
        raise FileNotFoundError(f"{BINARY} is missing: run `cargo build`, or set SEALANE_BIN")
    settings, log = folder / "regions.yaml", folder / "simulate.log"
    settings.write_text(json.dumps([REGION]), "utf-8")
    command = [BINARY, "--output", "json", "simulate", "--file", settings]
    with log.open("wb") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the region did not start: {log.read_text('utf-8')[-2000:]}")
            [started] = json.loads(line)["regions"]
            yield Region(started["endpoint"], started["control"])
        finally:
            process.terminate()
            process.wait(10)
