"""The client against the real service over simulated Azure regions."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from running_service import PRIMARY, STANDBY, TOKEN

import sealane
from sealane.v1 import inference_pb2, region_pb2


def test_complete(client):
    reply = client.complete("gpt-4o", "hi")
    assert sealane.text_of(reply)
    assert reply.choices[0].finish_reason == inference_pb2.FINISH_REASON_STOP
    assert reply.served_by.region in (PRIMARY, STANDBY)
    assert reply.usage.total_tokens > 0


def test_stream(client):
    with client.complete_stream("gpt-4o", [{"role": "user", "content": "hi"}]) as stream:
        pieces = list(stream.text_chunks())
    assert len(pieces) > 1 and "".join(pieces) == stream.text
    assert stream.finish_reasons == {0: inference_pb2.FINISH_REASON_STOP}
    assert stream.served_by.attempts[-1].region == stream.start.served_by.region


def test_the_callers_own_trace_reaches_azure(real, client):
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    client.complete("gpt-4o", "hi", metadata=[("traceparent", f"00-{trace}-{span}-01")])
    received = [parent for parent in real.primary.state()["traceparents"] if trace in parent]
    assert len(received) == 1 and span not in received[0], "the same trace, below a span of the service"


def test_embed_as_floats_and_as_bytes(client):
    floats = client.embed("text-embedding-3-large", ["one", "two"])
    packed = client.embed("text-embedding-3-large", ["one", "two"], encoding="VECTOR_ENCODING_FLOAT32_LE_BYTES")
    assert floats.dimensions == 3072 and not floats.embeddings[0].packed_values
    assert packed.embeddings[0].packed_values and not packed.embeddings[0].values
    assert sealane.as_array(floats).shape == (2, 3072)
    assert (sealane.as_array(floats) == sealane.as_array(packed)).all()
    assert sealane.as_lists(client.embed("text-embedding-3-large", "one", dimensions=8))[0] != []


def test_a_reply_beyond_grpcs_own_limit_arrives(client):
    reply = client.embed("text-embedding-3-large", [f"text {number}" for number in range(400)])
    assert reply.ByteSize() > 4 << 20
    assert len(reply.embeddings) == 400


def test_region_status(client):
    status = client.region_status()
    assert [region.region for region in status.regions] == sorted([PRIMARY, STANDBY])
    assert {model.model for model in status.models} == {"gpt-4o", "gpt-4.1-mini", "text-embedding-3-large"}
    assert [region.region for region in client.region_status(region=STANDBY).regions] == [STANDBY]
    with pytest.raises(sealane.NotFoundError) as caught:
        client.region_status(region="atlantis")
    assert caught.value.reason == "REGION_NOT_CONFIGURED"


def test_watch_region_status(client):
    watch = client.watch_region_status(max_interval=0.1)
    seen = [next(watch) for _ in range(3)]
    watch.close()
    assert all(isinstance(status, region_pb2.RegionStatusResponse) and status.regions for status in seen)


BAD_INPUT = [
    ("no messages", [], {}, "messages"),
    ("a temperature that is no number", "hi", {"temperature": math.nan}, "temperature"),
    ("a temperature out of range", "hi", {"temperature": 9.0}, "temperature"),
    ("an unknown role", [inference_pb2.Message(role=99, content=[{"text": "x"}])], {}, "messages[0].role"),
    ("a message without content", [{"role": "user"}], {}, "messages[0].content"),
    ("no choices", "hi", {"choice_count": 0}, "choice_count"),
]


@pytest.mark.parametrize(
    ("messages", "parameters", "field"), [row[1:] for row in BAD_INPUT], ids=[r[0] for r in BAD_INPUT]
)
def test_bad_input_is_refused_by_field(client, messages, parameters, field):
    for call in (
        lambda: client.complete("gpt-4o", messages, **parameters),
        lambda: list(client.complete_stream("gpt-4o", messages, **parameters)),
    ):
        with pytest.raises(sealane.InvalidRequestError) as caught:
            call()
        assert caught.value.reason == "INVALID_REQUEST"
        assert field in [violation.field for violation in caught.value.violations]


def test_bad_input_to_embed(client):
    with pytest.raises(sealane.InvalidRequestError) as caught:
        client.embed("text-embedding-3-large", ["fine", ""])
    assert "inputs[1]" in [violation.field for violation in caught.value.violations]


def test_a_request_over_the_services_limit(client):
    with pytest.raises(sealane.MessageTooLargeError) as caught:
        client.complete("gpt-4o", "x" * (17 << 20))
    assert caught.value.reason == "REQUEST_TOO_LARGE"


def test_an_unknown_model(client):
    with pytest.raises(sealane.NotFoundError) as caught:
        client.complete("gpt-unknown", "hi")
    assert (caught.value.reason, caught.value.metadata["model"]) == ("MODEL_NOT_CONFIGURED", "gpt-unknown")


def test_no_region_left(client):
    with pytest.raises(sealane.NoEligibleRegionError):
        client.complete("gpt-4o", "hi", routing={"data_boundary": "elsewhere"})


@pytest.mark.parametrize("token", [None, "a-token-that-nobody-was-given"])
def test_a_caller_who_is_not_known(real, monkeypatch, token):
    monkeypatch.delenv("SEALANE_TOKEN", raising=False)
    with sealane.Client(real.address, token=token) as stranger:
        with pytest.raises(sealane.UnauthenticatedError) as caught:
            stranger.complete("gpt-4o", "hi")
    assert caught.value.reason == ("INVALID_TOKEN" if token else "MISSING_TOKEN")


def test_throttled_everywhere(real, client):
    for region in (real.primary, real.standby):
        region.fault("throttle", deployment="gpt-4.1-mini", retry_after_seconds=30)
    with pytest.raises(sealane.ThrottledError) as caught:
        client.complete("gpt-4.1-mini", "hi")
    assert caught.value.reason == "ALL_REGIONS_RATE_LIMITED"
    assert 0 < caught.value.retry_delay <= 30


def test_a_workflow_is_pinned(client):
    workflow = sealane.Workflow("client-tests")
    reply = client.complete("gpt-4o", "hi", workflow=workflow)
    assert workflow.pinned_region == reply.served_by.pinned_region == reply.served_by.region
    assert client.embed("text-embedding-3-large", "hi", workflow=workflow).served_by.region == workflow.pinned_region


def test_a_deadline_in_mid_stream(real, client):
    for region in (real.primary, real.standby):
        region.fault("stream_stall", at=3)
    stream = client.complete_stream("gpt-4o", "hi", timeout=3)
    with pytest.raises(sealane.DeadlineExceededError):
        list(stream)
    assert stream.text and stream.end is None


def test_a_deadline_before_the_answer(real, client):
    for region in (real.primary, real.standby):
        region.fault("hang")
    with pytest.raises(sealane.DeadlineExceededError):
        client.complete("gpt-4o", "hi", timeout=0.5)


def slow_down(real):
    for region in (real.primary, real.standby):
        region.fault("latency", per_token_ms=200)


def test_cancelling_reaches_azure(real, client):
    slow_down(real)
    with client.complete_stream("gpt-4o", "hi") as stream:
        next(stream)
        serving = real.primary if stream.served_by.region == PRIMARY else real.standby
        before = serving.state()["dropped_by_client"]
    serving.wait_until("the upstream call is dropped", lambda state: state["dropped_by_client"] > before)
    with pytest.raises(sealane.CallCancelledError):
        list(stream)


def in_both_ways(client):
    """A unary call and a stream, each to its served_by."""

    def streamed():
        stream = client.complete_stream("gpt-4o", "hi")
        assert "".join(stream.text_chunks()) == stream.text != ""
        return stream.served_by

    return {"unary": lambda: client.complete("gpt-4o", "hi").served_by, "stream": streamed}


@pytest.mark.parametrize("way", ["unary", "stream"])
@pytest.mark.parametrize("fault", [{"kind": "down"}, {"kind": "status", "status": 503}, {"kind": "hang"}])
def test_a_primary_that_is_dead_before_the_call(real, client, way, fault):
    real.primary.fault(**fault)
    assert in_both_ways(client)[way]().region == STANDBY


@pytest.mark.parametrize("way", ["unary", "stream"])
def test_a_primary_that_dies_while_the_call_waits(real, client, way):
    real.primary.fault("latency", first_byte_ms=30_000)
    before = real.primary.state()["requests"]["chat"]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(in_both_ways(client)[way])
        real.primary.wait_until("a call waits", lambda state: state["requests"]["chat"] > before)
        real.primary.fault("down")
        assert call.result(30).region == STANDBY


@pytest.mark.parametrize("fault", ["stream_reset", "stream_end", "stream_error"])
def test_a_primary_that_dies_in_mid_answer(real, client, fault):
    real.primary.fault(fault, at=5)
    assert client.complete("gpt-4o", "hi").served_by.region == STANDBY
    stream = client.complete_stream("gpt-4o", "hi")
    with pytest.raises(sealane.StreamInterruptedError) as caught:
        list(stream.text_chunks())
    assert (caught.value.reason, caught.value.region) == ("STREAM_INTERRUPTED", PRIMARY)
    assert stream.text and stream.end is None


def test_both_regions_dead(real, client):
    for region in (real.primary, real.standby):
        region.fault("status", status=500)
    with pytest.raises(sealane.UnavailableError) as caught:
        client.embed("text-embedding-3-large", "hi")
    assert caught.value.reason == "ALL_REGIONS_UNAVAILABLE"
    assert caught.value.retry_delay is not None


def test_one_client_serves_many_threads(client):
    barrier = threading.Barrier(8)

    def call(_):
        barrier.wait(10)
        return sealane.text_of(client.complete("gpt-4o", "hi"))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))


async def test_asyncio(async_client):
    reply = await async_client.complete("gpt-4o", "hi")
    assert sealane.text_of(reply)
    embedded = await async_client.embed("text-embedding-3-large", ["one", "two"], dimensions=8)
    assert sealane.as_array(embedded).shape[0] == 2
    assert (await async_client.region_status()).regions
    async with async_client.complete_stream("gpt-4o", "hi") as stream:
        assert "".join([piece async for piece in stream.text_chunks()]) == stream.text != ""
    watched = 0
    async for status in async_client.watch_region_status(max_interval=0.1):
        assert status.regions
        if (watched := watched + 1) == 2:
            break


async def test_asyncio_errors(real, async_client):
    with pytest.raises(sealane.InvalidRequestError) as caught:
        await async_client.complete("gpt-4o", [])
    assert caught.value.violations[0].field == "messages"
    real.primary.fault("stream_reset", at=5)
    assert (await async_client.complete("gpt-4o", "hi")).served_by.region == STANDBY
    with pytest.raises(sealane.StreamInterruptedError):
        async for _ in async_client.complete_stream("gpt-4o", "hi"):
            pass


async def test_asyncio_cancellation_reaches_azure(real, async_client):
    slow_down(real)
    before = sum(region.state()["dropped_by_client"] for region in (real.primary, real.standby))
    async with async_client.complete_stream("gpt-4o", "hi") as stream:
        async for _ in stream:
            break
    serving = real.primary if stream.served_by.region == PRIMARY else real.standby
    other = sum(r.state()["dropped_by_client"] for r in (real.primary, real.standby) if r is not serving)
    serving.wait_until("the upstream call is dropped", lambda state: state["dropped_by_client"] + other > before)


def test_health_and_reflection_need_no_token(real):
    with grpc.insecure_channel(real.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "liveness", "readiness", "sealane.v1.InferenceService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, name
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"sealane.v1.InferenceService", "sealane.v1.RegionService"} <= set(database.get_services())
        file = database.FindFileContainingSymbol("sealane.v1.InferenceService")
        assert "EmbedStream" in [method.name for method in file.service[0].method]


def test_the_stubs_can_be_used_directly(client):
    request = inference_pb2.CompleteRequest(model="gpt-4o")
    with pytest.raises(grpc.RpcError) as caught:
        client.inference.Complete(request, metadata=client.metadata(), timeout=10)
    assert isinstance(sealane.from_rpc_error(caught.value), sealane.InvalidRequestError)
    assert dict(client.metadata())["authorization"] == f"Bearer {TOKEN}"
