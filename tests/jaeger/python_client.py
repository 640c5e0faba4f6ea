"""A caller in Python that traces itself: OpenTelemetry's own gRPC instrumentation, nothing of Sealane's.

Calls until its standard input ends; prints a line of JSON for each call. Address: `SEALANE_ADDR`; where spans go:
`OTEL_EXPORTER_OTLP_ENDPOINT`.
"""

from __future__ import annotations

import json
import sys
import threading

import sealane
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(insecure=True)))
trace.set_tracer_provider(provider)
GrpcInstrumentorClient().instrument()
tracer = trace.get_tracer("acceptance")

stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

with sealane.Client() as client:
    while not stop.is_set():
        with tracer.start_as_current_span("a question") as span:
            told = {"trace": format(span.get_span_context().trace_id, "032x")}
            try:
                reply = client.complete("gpt-4o", "Why is the sky blue?", timeout=30)
                told |= {"region": reply.served_by.region, "failed_over": reply.served_by.failed_over}
            except sealane.SealaneError as error:
                told["error"] = str(error)
        print(json.dumps(told), flush=True)
provider.shutdown()
