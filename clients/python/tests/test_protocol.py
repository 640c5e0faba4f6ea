"""What the client makes of answers and errors, against a scripted server over a real socket."""

import struct

import grpc
import pytest
from google.rpc import error_details_pb2
from scripted_service import CODES, ScriptedService, delta, end, error_info, refusal, retry_info, serving, start

import sealane
from sealane.v1 import inference_pb2

SEEN_BY_USERS = [
    (CODES.INVALID_ARGUMENT, "CONTEXT_LENGTH_EXCEEDED", sealane.InvalidRequestError),
    (CODES.NOT_FOUND, "MODEL_NOT_CONFIGURED", sealane.NotFoundError),
    (CODES.FAILED_PRECONDITION, "NO_ELIGIBLE_REGION", sealane.NoEligibleRegionError),
    (CODES.FAILED_PRECONDITION, "OTHER", sealane.FailedPreconditionError),
    (CODES.RESOURCE_EXHAUSTED, "ALL_REGIONS_RATE_LIMITED", sealane.ThrottledError),
    (CODES.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE", sealane.MessageTooLargeError),
    (CODES.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE", sealane.MessageTooLargeError),
    (CODES.UNAUTHENTICATED, "INVALID_TOKEN", sealane.UnauthenticatedError),
    (CODES.PERMISSION_DENIED, "NOT_AUTHORIZED", sealane.PermissionDeniedError),
    (CODES.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", sealane.DeadlineExceededError),
    (CODES.INTERNAL, "UPSTREAM_BAD_RESPONSE", sealane.InternalError),
    (CODES.UNIMPLEMENTED, "NOT_IMPLEMENTED", sealane.SealaneError),
]


@pytest.fixture
def service():
    return ScriptedService()


@pytest.fixture
def client(service):
    with serving(service) as address, sealane.Client(address, token="s3cret") as client:
        yield client


def fails_with(code, *details):
    return lambda context: context.abort_with_status(refusal(code, "why, and what to do", *details))


@pytest.mark.parametrize(("code", "reason", "kind"), SEEN_BY_USERS)
def test_the_error_class_says_what_to_do_next(service, client, code, reason, kind):
    service.complete = fails_with(code, error_info(reason))
    with pytest.raises(sealane.SealaneError, match="why, and what to do") as caught:
        client.complete("gpt-4o", "hi")
    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.code.value[0]) == (reason, code)


def test_an_error_carries_all_its_details(service, client):
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="messages[0].role", description="is required")
    bad.field_violations.add(field="temperature", description="must be 0 to 2")
    info = error_info("INVALID_REQUEST", lastRegion="swedencentral", attempts="2")
    service.complete = fails_with(CODES.INVALID_ARGUMENT, info, retry_info(1, 500_000_000), bad)
    with pytest.raises(sealane.InvalidRequestError) as caught:
        client.complete("gpt-4o", "hi")
    error = caught.value
    assert error.violations == (
        sealane.Violation("messages[0].role", "is required"),
        sealane.Violation("temperature", "must be 0 to 2"),
    )
    assert (error.region, error.retry_delay, error.metadata["attempts"]) == ("swedencentral", 1.5, "2")
    assert str(error) == "INVALID_REQUEST: why, and what to do"


def test_a_proxys_error_info_is_not_taken_for_the_services(service, client):
    service.complete = fails_with(CODES.PERMISSION_DENIED, error_info("NO_ELIGIBLE_REGION", domain="proxy.example"))
    with pytest.raises(sealane.PermissionDeniedError) as caught:
        client.complete("gpt-4o", "hi")
    assert caught.value.reason == ""


def test_garbage_in_the_details_does_not_hide_the_status(service, client):
    def garbage(context):
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such model")

    service.complete = garbage
    with pytest.raises(sealane.NotFoundError, match="no such model"):
        client.complete("gpt-4o", "hi")


def test_an_unreachable_service_is_unavailable():
    with sealane.Client("127.0.0.1:9") as client, pytest.raises(sealane.UnavailableError) as caught:
        client.region_status()
    assert caught.value.reason == "" and not isinstance(caught.value, sealane.StreamInterruptedError)


def test_a_call_says_who_asks_and_what_size_it_takes(service, client):
    client.complete("gpt-4o", "hi", metadata=[("x-request-id", "r1")])
    assert service.metadata["authorization"] == "Bearer s3cret"
    assert service.metadata["x-sealane-max-recv-bytes"] == str(32 << 20)
    assert service.metadata["x-request-id"] == "r1"
    assert service.metadata["user-agent"].startswith(f"sealane-python/{sealane.__version__} ")


def test_unary_calls_have_a_deadline_that_a_call_may_exceed_and_streams_have_none(service, client):
    left = []

    def note(context):
        left.append(context.time_remaining())
        return inference_pb2.CompleteResponse()

    def note_and_stream(context):
        left.append(context.time_remaining())
        yield from (start(), end())

    service.complete, service.stream = note, note_and_stream
    client.complete("gpt-4o", "hi")
    client.complete("gpt-4o", "hi", timeout=900)
    list(client.complete_stream("gpt-4o", "hi"))
    default, longer, none = left
    # The server rounds up to whole seconds.
    assert 200 < default < 302 < longer < 902
    # gRPC states "no deadline" as None or as one in the far future, by version.
    assert none is None or none > 1e6


def test_a_call_is_tried_again_where_that_is_safe(service, client):
    answers = [fails_with(CODES.UNAVAILABLE, error_info("DRAINING")), lambda _: inference_pb2.CompleteResponse()]
    service.complete = lambda context: answers.pop(0)(context)
    client.complete("gpt-4o", "hi")
    assert len(service.requests) == 2


def test_a_reply_of_28_mib_arrives_and_one_of_33_mib_says_what_to_do(service, client):
    service.embed = lambda _: inference_pb2.EmbedResponse(embeddings=[{"packed_values": bytes(28 << 20)}])
    assert len(client.embed("m", "x").embeddings[0].packed_values) == 28 << 20
    service.embed = lambda _: inference_pb2.EmbedResponse(embeddings=[{"packed_values": bytes(33 << 20)}])
    with pytest.raises(sealane.MessageTooLargeError):
        client.embed("m", "x")


def test_a_whole_stream(service, client):
    workflow = sealane.Workflow("w")
    unknown_kind = inference_pb2.CompleteStreamResponse()
    finish = inference_pb2.CompleteStreamResponse(choice_finish={"choice_index": 0, "finish_reason": 1})
    service.stream = lambda _: iter(
        [start(pinned_region="norwayeast"), delta("Hel"), delta("no", 1), unknown_kind, delta("lo"), finish, end()]
    )
    stream = client.complete_stream("gpt-4o", "hi", workflow=workflow)
    assert list(stream.text_chunks()) == ["Hel", "lo"]
    assert stream.text == "Hello"
    assert stream.end is not None and stream.served_by.region == "swedencentral"
    assert stream.finish_reasons == {0: inference_pb2.FINISH_REASON_STOP}
    assert workflow.pinned_region == "norwayeast"


def cut_quietly(_):
    yield from (start(), delta("Hel"))


def cut_by_status(context):
    yield from (start(), delta("Hel"))
    info = error_info("STREAM_INTERRUPTED", servedRegion="swedencentral")
    context.abort_with_status(refusal(CODES.UNAVAILABLE, "the region failed", info))


def cut_by_a_broken_connection(context):
    yield from (start(), delta("Hel"))
    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@pytest.mark.parametrize("cut", [cut_quietly, cut_by_status, cut_by_a_broken_connection])
@pytest.mark.parametrize("read", [list, lambda stream: list(stream.text_chunks())])
def test_a_cut_stream_never_passes_for_a_whole_one(service, client, cut, read):
    service.stream = cut
    stream = client.complete_stream("gpt-4o", "hi")
    with pytest.raises(sealane.StreamInterruptedError) as caught:
        read(stream)
    assert caught.value.region == "swedencentral"
    assert (stream.text, stream.end) == ("Hel", None)


@pytest.mark.parametrize("cut", [cut_quietly, cut_by_status, cut_by_a_broken_connection])
async def test_a_cut_stream_never_passes_for_a_whole_one_in_asyncio(service, cut):
    service.stream = cut
    with serving(service) as address:
        async with sealane.AsyncClient(address) as client, client.complete_stream("gpt-4o", "hi") as stream:
            with pytest.raises(sealane.StreamInterruptedError) as caught:
                async for _ in stream.text_chunks():
                    pass
    assert caught.value.region == "swedencentral"
    assert (stream.text, stream.end) == ("Hel", None)


def test_a_stream_that_says_nothing_at_all_raises(service, client):
    with pytest.raises(sealane.StreamInterruptedError):
        list(client.complete_stream("gpt-4o", "hi"))


RESTARTED = inference_pb2.CompleteStreamResponse(restarted={"failed_region": "swedencentral", "failure": "stalled"})


def test_a_restarted_answer_replaces_the_first(service, client):
    service.stream = lambda _: iter(
        [start(), delta("Hel"), RESTARTED, start("norwayeast"), delta("Hello"), end("norwayeast")]
    )
    stream = client.complete_stream("gpt-4o", "hi")
    list(stream)
    assert stream.text == "Hello" and stream.served_by.region == "norwayeast"
    with pytest.raises(sealane.StreamInterruptedError, match="iterate the events"):
        list(client.complete_stream("gpt-4o", "hi").text_chunks())


def test_leaving_a_stream_early_cancels_the_call(service, client):
    over = []

    def endless(context):
        context.add_callback(lambda: over.append(True))
        yield start()
        while context.is_active():
            yield delta("x")

    service.stream = endless
    with client.complete_stream("gpt-4o", "hi") as stream:
        for piece in stream.text_chunks():
            assert piece == "x"
            break
    with pytest.raises(sealane.CallCancelledError):
        list(stream)


PACKED = inference_pb2.EmbedResponse(
    dimensions=2, embeddings=[{"packed_values": struct.pack("<2f", 1, 0.5)}, {"packed_values": bytes(8)}]
)
FLOATS = inference_pb2.EmbedResponse(dimensions=2, embeddings=[{"values": [1, 0.5]}, {"values": [0, 0]}])


@pytest.mark.parametrize("reply", [PACKED, FLOATS])
def test_vectors_read_the_same_in_both_encodings(reply):
    numpy = pytest.importorskip("numpy")
    assert sealane.as_lists(reply) == [[1.0, 0.5], [0.0, 0.0]]
    array = sealane.as_array(reply)
    assert array.dtype == numpy.float32 and array.shape == (2, 2)
    assert array.tolist() == sealane.as_lists(reply)


def test_no_vectors_are_an_empty_array():
    assert sealane.as_array(inference_pb2.EmbedResponse(dimensions=3)).shape == (0, 3)


def test_the_text_of_an_answer():
    reply = inference_pb2.CompleteResponse(choices=[{"message": {"content": [{"text": "a"}, {"text": "b"}]}}])
    assert sealane.text_of(reply) == "ab"
    assert sealane.text_of(inference_pb2.CompleteResponse(choices=[{}])) == ""
    assert sealane.text_of(inference_pb2.CompleteResponse()) == ""
