"""The real thing: two simulated Azure regions and the service over them, each a process of the `sealane` binary."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("SEALANE_BIN") or REPOSITORY / "target" / "debug" / "sealane")

PRIMARY, STANDBY = "swedencentral", "francecentral"
TOKEN = "a-token-of-the-client-tests"

# Limits short enough to wait for. Callers exist, so that every test shows its token.
CONFIG = """\
resources:
{resources}
models:
  - name: gpt-4o
    targets: {chat}
  - name: gpt-4.1-mini
    targets: {mini}
  - name: text-embedding-3-large
    kind: embedding
    targets: {embedding}
{access}
failover: {{ first_content: 2s }}
drain: {{ delay: 0s, grace: 1s }}
"""


TOKEN_ONLY = """\
callers:
  - { name: tests, token: { env: CALLER_TOKEN }, policy: unrestricted }
"""


class Region:
    """A simulated region's control API."""

    def __init__(self, name: str, endpoint: str, control: str) -> None:
        self.name, self.endpoint, self._control = name, endpoint, control

    def fault(self, kind: str, *, deployment: str | None = None, **settings: Any) -> None:
        """From now on, `kind` happens to this region's requests."""
        rule: dict[str, Any] = {"fault": {"kind": kind, **settings}}
        if deployment:
            rule["deployment"] = deployment
        self._ask("POST", "faults", rule)

    def die_after(self, requests: int) -> None:
        """Answers so many more requests for embeddings, and resets all that come then."""
        self._ask("POST", "faults", {"fault": {"kind": "reset"}, "operation": "embeddings", "after": requests})

    def recover(self) -> None:
        """Ends all faults."""
        self._ask("DELETE", "faults")

    def state(self) -> dict[str, Any]:
        return self._ask("GET", "state")

    def wait_until(self, what: str, holds: Any) -> dict[str, Any]:
        """Waits until `holds(state)`; fails after 20 s."""
        deadline = time.monotonic() + 20
        while not holds(state := self.state()):
            assert time.monotonic() < deadline, f"{self.name}: not in time: {what}; {state}"
            time.sleep(0.02)
        return state

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._control}/_simulator/{path}", data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)


class Service:
    """Where the service listens, and the regions behind it."""

    def __init__(self, address: str, regions: dict[str, Region], process: int) -> None:
        self.address = address
        self._process = process
        self.primary, self.standby = regions[PRIMARY], regions[STANDBY]

    def peak_memory(self) -> int:
        """The most physical memory that the service has ever held, in bytes (proc(5), VmHWM). Linux only."""
        for line in Path(f"/proc/{self._process}/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise ValueError("the kernel tells no VmHWM")


@contextmanager
def running(folder: Path, access: str = TOKEN_ONLY) -> Iterator[Service]:
    """Starts everything on free loopback ports; logs go to `folder`. `access`: who may call, and TLS."""
    if not BINARY.exists():
        raise FileNotFoundError(f"{BINARY} is missing: run `cargo build`, or set SEALANE_BIN")
    with ExitStack() as stack:
        simulate = ["simulate", "--region", PRIMARY, "--region", STANDBY]
        started, _ = stack.enter_context(_process(simulate, folder / "simulate.log"))
        regions = {one["region"]: Region(one["region"], one["endpoint"], one["control"]) for one in started["regions"]}
        config = folder / "sealane.yaml"
        config.write_text(_config(regions, access), "utf-8")
        serve = ["serve", "--config", str(config), "--listen", "127.0.0.1:0"]
        service, process = stack.enter_context(_process(serve, folder / "serve.log"))
        yield Service(service["listening"], regions, process)


def _config(regions: dict[str, Region], access: str) -> str:
    def targets(deployment: str) -> str:
        return json.dumps([{"resource": name, "deployment": deployment, "sku": "Standard"} for name in regions])

    resources = "\n".join(
        f"  - {{ name: {one.name}, region: {one.name}, boundary: eu, endpoint: '{one.endpoint}', "
        "auth: { api_key: { env: SIMULATED_KEY } } }"
        for one in regions.values()
    )
    return CONFIG.format(
        resources=resources,
        chat=targets("gpt-4o"),
        mini=targets("gpt-4.1-mini"),
        embedding=targets("text-embedding-3-large"),
        access=access,
    )


@contextmanager
def _process(arguments: list[str], log: Path) -> Iterator[tuple[Any, int]]:
    """Runs the binary; yields the line of JSON with which it says that it is up, and its process id."""
    environment = {**os.environ, "SIMULATED_KEY": "simulated-key", "CALLER_TOKEN": TOKEN}
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [BINARY, "--output", "json", *arguments], stdout=subprocess.PIPE, stderr=stderr, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"sealane {arguments[0]} did not start: {log.read_text('utf-8')[-2000:]}")
            yield json.loads(line), process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
