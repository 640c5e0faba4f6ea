"""Friendly arguments become exactly the messages that a user of the stubs would have written."""

import pytest

from sealane import Workflow
from sealane.requests import CompleteParameters, complete_request, embed_request, watch_request
from sealane.v1 import common_pb2, inference_pb2


def complete(messages, routing=None, workflow=None, **parameters):
    return complete_request(inference_pb2.CompleteRequest, "gpt-4o", messages, routing, workflow, parameters)


def said(role, *texts):
    return inference_pb2.Message(role=role, content=[{"text": text} for text in texts])


USER, SYSTEM, TOOL = inference_pb2.ROLE_USER, inference_pb2.ROLE_SYSTEM, inference_pb2.ROLE_TOOL


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("hi", [said(USER, "hi")]),
        ([{"role": "user", "content": "hi"}], [said(USER, "hi")]),
        ([{"role": "ROLE_USER", "content": ["a", {"text": "b"}]}], [said(USER, "a", "b")]),
        ([{"role": USER, "content": inference_pb2.ContentPart(text="a")}], [said(USER, "a")]),
        ([{"role": "system", "content": "be short"}, said(USER, "hi")], [said(SYSTEM, "be short"), said(USER, "hi")]),
        (
            [{"role": "tool", "tool_call_id": "c1", "content": "42"}],
            [inference_pb2.Message(role=TOOL, tool_call_id="c1", content=[{"text": "42"}])],
        ),
        ([], []),
    ],
)
def test_messages(given, expected):
    assert list(complete(given).messages) == expected


def test_an_image_in_place():
    parts = ["what is it?", {"image": {"inline": b"png", "mime_type": "image/png"}}]
    message = complete([{"role": "user", "content": parts}]).messages[0]
    assert message.content[1].image.inline == b"png"


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: complete([{"role": "robot", "content": "hi"}]), ValueError, r"messages\[0\].role: 'robot' is none of"),
        (lambda: complete([{"role": "user", "contents": "hi"}]), TypeError, r"messages\[0\]: .*'contents'"),
        (lambda: complete({"role": "user", "content": "hi"}), TypeError, "put it into a list"),
        (lambda: complete("hi", temprature=1), TypeError, "CompleteRequest: there is no field 'temprature'"),
        (lambda: complete("hi", max_output_tokens="many"), TypeError, "CompleteRequest"),
        (lambda: complete("hi", routing={"region": "x"}), TypeError, "routing: there is no field 'region'"),
        (lambda: complete("hi", routing={"priority": "PRIORITY_URGENT"}), ValueError, "PRIORITY_URGENT"),
    ],
)
def test_what_fits_no_message_is_refused_by_name(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_parameters_reach_their_fields():
    request = complete(
        "hi",
        max_output_tokens=5,
        temperature=0.0,
        stop_sequences=["END"],
        reasoning_effort="REASONING_EFFORT_LOW",
        labels={"team": "search"},
        logit_bias={7: -100.0},
        user_security_context={"application_name": "search"},
        extra_params={"top_k": 3},
    )
    assert request.max_output_tokens == 5
    assert request.HasField("temperature") and request.temperature == 0
    assert request.reasoning_effort == inference_pb2.REASONING_EFFORT_LOW
    assert dict(request.metadata) == {"team": "search"}
    assert dict(request.logit_bias) == {7: -100.0}
    assert request.user_security_context.application_name == "search"
    assert request.extra_params["top_k"] == 3
    assert not request.HasField("routing")


def test_a_document_in_place():
    parts = ["what does it say?", {"file": {"inline": b"%PDF", "mime_type": "application/pdf", "name": "a.pdf"}}]
    message = complete([{"role": "user", "content": parts}]).messages[0]
    assert message.content[1].file.name == "a.pdf"


def test_every_parameter_of_a_request_is_known():
    fields = {field.name for field in inference_pb2.CompleteRequest.DESCRIPTOR.fields}
    own = {"model", "messages", "routing"}
    assert CompleteParameters.__annotations__.keys() == fields - own - {"metadata"} | {"labels"}


def test_a_stream_takes_the_same_fields():
    twin = complete_request(inference_pb2.CompleteStreamRequest, "gpt-4o", "hi", None, None, {"seed": 1})
    assert twin.SerializeToString() == complete("hi", seed=1).SerializeToString()


def test_one_string_is_one_input():
    assert list(embed_request("m", "text", None, None, {}).inputs) == ["text"]
    assert list(embed_request("m", (t for t in "ab"), None, None, {"dimensions": 8}).inputs) == ["a", "b"]


def test_a_workflow_sends_back_its_pin_and_leaves_the_callers_routing_alone():
    workflow = Workflow("run-7")
    mine = common_pb2.RoutingOptions(data_boundary="eu")
    first = complete("hi", mine, workflow).routing
    assert (first.workflow_id, first.pinned_region, first.data_boundary) == ("run-7", "", "eu")
    workflow.remember(common_pb2.ServedBy(region="francecentral", pinned_region="swedencentral"))
    workflow.remember(common_pb2.ServedBy())
    assert complete("hi", {"data_boundary": "eu"}, workflow).routing.pinned_region == "swedencentral"
    assert mine == common_pb2.RoutingOptions(data_boundary="eu")


def test_workflows_without_an_id_differ():
    assert Workflow().id != Workflow().id


def test_an_interval_is_in_seconds():
    request = watch_request("", "", 0.25)
    assert (request.max_interval.seconds, request.max_interval.nanos) == (0, 250_000_000)
    assert not watch_request("", "", None).HasField("max_interval")
