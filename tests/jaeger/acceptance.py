"""Loses a region under two callers' hands and asks a real Jaeger what happened. scripts/acceptance-jaeger.sh runs it.

Two simulated regions, the service and Jaeger, each a process; a Python and a Go client that trace themselves. The
primary region is killed while it answers both. Then Jaeger's query API must know: one trace from each client's span
over the server span to a span for each attempt, with its region; and the auditor's tags, searchable. Only Python's
standard library; the paths of what to run are the arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PRIMARY, STANDBY = "swedencentral", "francecentral"
SERVER_SPAN = "sealane.v1.InferenceService/Complete"
PATIENCE = 60.0
"""Seconds for whatever must happen."""

REGION = """\
- region: {name}
  display_name: {name}
  captured_requests: 4096
  latency: {{ first_token_ms: 200, per_token_ms: 4 }}
"""
CONFIG = """\
resources:
{resources}
models:
  - name: gpt-4o
    targets: {targets}
"""

Span = dict[str, Any]


class Missing(Exception):
    """Something that must be there is not."""


def ask(url: str, **query: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + ("?" + urllib.parse.urlencode(query) if query else ""), timeout=10) as answer:
        return json.load(answer)


def wait_for(what: str, holds: Any) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    raise Missing(f"not within {PATIENCE:.0f} s: {what}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Stage:
    """Starts processes, with logs in a folder, and ends them all."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack

    def start(self, name: str, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        # Settings of the person who runs this must not matter.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SEALANE_"))}
        log = self._stack.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**kept, **environment},
        )
        self._stack.callback(self._end, process)
        return process

    def up(self, name: str, *command: str | Path, **environment: str) -> tuple[subprocess.Popen[str], Any]:
        """The same, and the line of JSON with which it says that it is up."""
        process = self.start(name, *command, **environment)
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise Missing(f"{name} did not start:\n{(self.folder / f'{name}.log').read_text()[-2000:]}")
        return process, json.loads(line)

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Caller:
    """A client process that calls until its input ends, and what it said of each call."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self.calls, self._process = name, list[dict[str, Any]](), process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.calls.append(json.loads(line))

    def failed_over(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if call.get("failed_over")]

    def finish(self) -> None:
        """Lets it end its last call and export its spans."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(PATIENCE):
            raise Missing(f"{self.name} ended with {self._process.returncode}")
        self._reader.join()


class Jaeger:
    """The query API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def is_up(self) -> bool:
        try:
            ask(f"{self.address}/api/services")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def search(self, **tags: str) -> set[str]:
        """Traces with one span of the service that has all of these tags."""
        tagged = json.dumps(tags)
        found = ask(f"{self.address}/api/traces", service="sealane", limit="1000", tags=tagged)["data"]
        return {trace["traceID"] for trace in found}

    def spans(self, trace: str) -> list[Span]:
        try:
            data = ask(f"{self.address}/api/traces/{trace}")["data"]
        except urllib.error.HTTPError:
            return []
        spans = []
        for found in data:
            for span in found["spans"]:
                span["service"] = found["processes"][span["processID"]]["serviceName"]
                span["tags"] = {tag["key"]: tag["value"] for tag in span["tags"]}
                parents = [
                    reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"
                ]
                span["parent"] = parents[0] if parents else None
                spans.append(span)
        return sorted(spans, key=lambda span: span["startTime"])


def check(holds: Any, what: str) -> None:
    if not holds:
        raise Missing(what)


def follow(spans: list[Span], caller: str) -> list[Span]:
    """The way of a rescued call: its caller's span, the server span below, and the attempts below that."""
    by_id = {span["spanID"]: span for span in spans}
    servers = [span for span in spans if span["operationName"] == SERVER_SPAN and span["service"] == "sealane"]
    check(len(servers) == 1, f"one server span in the trace, not {len(servers)}")
    server = servers[0]
    client = by_id.get(server["parent"])
    check(client and client["service"] == caller, f"the server span is below a span of {caller}")
    attempts = [span for span in spans if span["parent"] == server["spanID"]]
    regions = [span["tags"].get("cloud.region") for span in attempts]
    check(regions == [PRIMARY, STANDBY], f"attempts in {PRIMARY} and {STANDBY}, not {regions}")
    outcomes = [span["tags"].get("error") is True for span in attempts]
    check(outcomes == [True, False], "the first attempt failed and the second did not")
    expected = {"sealane.failover": True, "sealane.region.served": STANDBY, "sealane.attempt.count": 2}
    for name, value in expected.items():
        check(server["tags"].get(name) == value, f"{name}={value} on the server span, not {server['tags'].get(name)}")
    return [client, server, *attempts]


def draw(spans: list[Span]) -> None:
    """The trace as a person would read it."""
    shown = (
        "sealane.region.served",
        "sealane.failover",
        "sealane.data_boundary",
        "cloud.region",
        "sealane.attempt.reason",
        "sealane.attempt.outcome",
        "http.response.status_code",
    )

    def below(parent: str | None, depth: int) -> None:
        for span in spans:
            if span["parent"] == parent:
                tags = "  ".join(f"{name}={json.dumps(span['tags'][name])}" for name in shown if name in span["tags"])
                name = f"{'  ' * depth}{span['operationName']}"
                print(f"    {name:<44} {span['service']:<14} {span['duration'] / 1000:>6.0f} ms  {tags}")
                below(span["spanID"], depth + 1)

    below(None, 0)


def start_jaeger(binary: Path, stage: Stage) -> tuple[Jaeger, str]:
    """Its query API, and where it takes OTLP."""
    otlp, query, query_grpc = (str(port) for port in free_ports(3))
    ports = {"JAEGER_OTLP_PORT": otlp, "JAEGER_QUERY_HTTP_PORT": query, "JAEGER_QUERY_GRPC_PORT": query_grpc}
    stage.start("jaeger", binary, "--config", HERE / "jaeger.yaml", **ports)
    jaeger = Jaeger(f"http://127.0.0.1:{query}")
    wait_for("Jaeger answers", jaeger.is_up)
    return jaeger, f"http://127.0.0.1:{otlp}"


class Region:
    """A simulated region, a process of its own so that it can be killed."""

    def __init__(self, name: str, binary: Path, stage: Stage) -> None:
        file = stage.folder / f"{name}.yaml"
        file.write_text(REGION.format(name=name))
        self.process, said = stage.up(name, binary, "--output", "json", "simulate", "--file", file)
        self.name, self.endpoint = name, said["regions"][0]["endpoint"]
        self._control = said["regions"][0]["control"]

    def state(self) -> Any:
        return ask(f"{self._control}/_simulator/state")


def configuration(regions: list[Region]) -> str:
    key = "auth: { api_key: { env: SIMULATED_KEY } }"
    resource = "  - {{ name: {0.name}, region: {0.name}, boundary: eu, endpoint: '{0.endpoint}', {1} }}"
    targets = [{"resource": region.name, "deployment": "gpt-4o", "sku": "Standard"} for region in regions]
    resources = "\n".join(resource.format(region, key) for region in regions)
    return CONFIG.format(resources=resources, targets=json.dumps(targets))


def play(arguments: argparse.Namespace, stage: Stage) -> None:
    jaeger, otlp = start_jaeger(arguments.jaeger, stage)
    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp, "OTEL_EXPORTER_OTLP_INSECURE": "true"}
    primary, standby = (Region(name, arguments.sealane, stage) for name in (PRIMARY, STANDBY))
    config = stage.folder / "sealane.yaml"
    config.write_text(configuration([primary, standby]))
    serve = [arguments.sealane, "--output", "json", "serve", "--config", config, "--listen", "127.0.0.1:0"]
    service, said = stage.up("service", *serve, SIMULATED_KEY="simulated-key", OTEL_METRICS_EXPORTER="none", **export)
    print(f"Jaeger's query API at {jaeger.address}; the service at {said['listening']} over {PRIMARY} and {STANDBY}")

    commands = {"python-client": [arguments.python, HERE / "python_client.py"], "go-client": [arguments.go_client]}
    callers = [
        Caller(name, stage.start(name, *command, OTEL_SERVICE_NAME=name, SEALANE_ADDR=said["listening"], **export))
        for name, command in commands.items()
    ]
    wait_for("three calls of each client", lambda: all(len(caller.calls) >= 3 for caller in callers))
    wait_for("both clients wait for the primary", lambda: primary.state()["in_flight"] >= 2)
    primary.process.kill()
    print(f"{PRIMARY} killed while it answered both clients")
    wait_for("both clients are rescued", lambda: all(caller.failed_over() for caller in callers))
    then = {caller.name: len(caller.calls) for caller in callers}
    wait_for("three more calls", lambda: all(len(caller.calls) >= then[caller.name] + 3 for caller in callers))
    for caller in callers:
        caller.finish()
    service.terminate()
    service.wait(PATIENCE)
    judge(jaeger, callers, standby.state()["traceparents"])


def auditors_command(jaeger: Jaeger, expected: int) -> None:
    """Runs the command of docs/tracing.md: a line for each call that the standby served."""
    if not (shutil.which("curl") and shutil.which("jq")):
        print("curl or jq is absent: the command of docs/tracing.md was NOT run")
        return
    page = (HERE.parents[1] / "docs" / "tracing.md").read_text("utf-8")
    command = page.split("```sh\n", 1)[1].split("```", 1)[0].replace("http://localhost:16686", jaeger.address)
    lines = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout.splitlines()
    print(f"\n  the command of docs/tracing.md prints {len(lines)} lines, the first:\n    {''.join(lines[:1])}")
    check(len(lines) == expected, f"a line for each of {expected} calls")


def judge(jaeger: Jaeger, callers: list[Caller], received: list[str]) -> None:
    """What the clients were told, and what Jaeger and the standby know, must be one story."""
    for caller in callers:
        errors = [call["error"] for call in caller.calls if "error" in call]
        check(not errors, f"{caller.name}: no call fails; {errors[:1]}")
        print(f"{caller.name}: {len(caller.calls)} calls, none failed, {len(caller.failed_over())} rescued")
    print()
    calls = [call for caller in callers for call in caller.calls]
    in_region = {name: {call["trace"] for call in calls if call["region"] == name} for name in (PRIMARY, STANDBY)}
    rescued = {call["trace"] for call in calls if call["failed_over"]}
    finds(jaeger, rescued, **{"sealane.failover": "true"})
    finds(jaeger, in_region[STANDBY], **{"sealane.region.served": STANDBY})
    finds(jaeger, rescued, **{"sealane.region.served": STANDBY, "sealane.failover": "true"})
    finds(jaeger, in_region[PRIMARY], **{"sealane.region.served": PRIMARY})
    auditors_command(jaeger, len(in_region[STANDBY]))
    for caller in callers:
        trace = caller.failed_over()[0]["trace"]
        spans = jaeger.spans(trace)
        print(f"\n  a rescued call of {caller.name}, trace {trace}")
        draw(spans)
        rescue = follow(spans, caller.name)[-1]
        upstream = f"00-{trace}-{rescue['spanID']}-01"
        check(upstream in received, f"{STANDBY} received traceparent {upstream}")
        print(f"    {STANDBY} received traceparent {upstream}: the second attempt's span")
    print("\nOne trace from client to upstream, a span for each attempt with its region, tags searchable: all found.")


def finds(jaeger: Jaeger, expected: set[str], **tags: str) -> None:
    found = jaeger.search(**tags)
    text = " ".join(f"{name}={value}" for name, value in tags.items())
    print(f"Jaeger finds {len(found):>3} traces with {text}")
    check(found == expected, f"exactly the {len(expected)} calls whose answers said so, not {len(found)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in {
        "sealane": "the service's binary",
        "jaeger": "Jaeger v2's binary",
        "python": "a Python with the sealane client and tests/jaeger/requirements.txt",
        "go-client": "tests/jaeger/go_client, built",
    }.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealane-jaeger-") as folder, ExitStack() as stack:
        try:
            play(arguments, Stage(Path(folder), stack))
        except Missing as missing:
            print(f"\nMISSING: {missing}", file=sys.stderr)
            for log in sorted(Path(folder).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-1500:]}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
