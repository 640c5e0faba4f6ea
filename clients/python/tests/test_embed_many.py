"""Any number of texts: first against a scripted server, for what the true service never does on purpose, then against
the real one while its regions fail."""

import asyncio
import gc
import itertools
import json
import os
import struct
import subprocess
import sys
import threading
import types

import grpc
import numpy as np
import pytest
from relay import relaying
from running_service import BINARY, PRIMARY, TOKEN
from scripted_service import CODES, ScriptedService, error_info, refusal, serving

import sealane
from sealane import channel
from sealane.ingestion import MOST_UNANSWERED
from sealane.v1 import inference_pb2

MODEL = "text-embedding-3-large"
SPACE = "text-embedding-3-large/1/3072"


def vector(text):
    return struct.pack("<2f", len(text), sum(map(ord, text)))


def answer(item, space=SPACE):
    embedding = {"packed_values": vector(item.text)}
    result = {"id": item.id, "embedding": embedding, "region": PRIMARY, "embedding_space": space}
    return inference_pb2.EmbedStreamResponse(result=result)


def summary(**fields):
    return inference_pb2.EmbedStreamResponse(summary=fields)


def item_error(item, reason="PROMPT_BLOCKED"):
    return inference_pb2.EmbedStreamResponse(
        result={"id": item.id, "error": {"reason": reason, "message": "blocked"}, "region": PRIMARY}
    )


def items_of(requests):
    """The items of a stream, after its opening."""
    assert next(requests).WhichOneof("event") == "open"
    return (request.item for request in requests)


def all_answered(requests, context):
    for item in items_of(requests):
        yield answer(item)
    yield summary(usage={"total_tokens": 7}, pinned_region=PRIMARY)


@pytest.fixture
def service():
    service = ScriptedService()
    service.embed_stream = all_answered
    return service


@pytest.fixture
def address(service):
    with serving(service) as address:
        yield address


@pytest.fixture(params=["blocking", "asyncio"])
def embed(request, address):
    """`embed(items, ...)`: the answers, their summary and what was left, by either client."""

    def blocking(items, **options):
        with sealane.Client(address) as client, client.embed_many(items, model=MODEL, **options) as run:
            return Run(run, list(run))

    async def in_a_loop(items, options):
        async with sealane.AsyncClient(address) as client:
            async with client.embed_many(items, model=MODEL, **options) as run:
                return Run(run, [item async for item in run])

    return blocking if request.param == "blocking" else lambda items, **options: asyncio.run(in_a_loop(items, options))


class Run:
    def __init__(self, run, answers):
        self.summary, self.answers, self.unanswered = run.summary, answers, run.unanswered()

    def texts_by_id(self):
        assert len({one.id for one in self.answers}) == len(self.answers), "each exactly once"
        return {one.id: one.as_list() for one in self.answers}


def test_texts_and_pairs(embed):
    run = embed(["ab", ("an id", "c")])
    assert {(one.id, one.index, tuple(one.vector)) for one in run.answers} == {
        ("0", 0, (2.0, 195.0)),
        ("an id", 1, (1.0, 99.0)),
    }
    assert run.answers[0].vector.dtype == np.float32
    assert run.summary == sealane.IngestionSummary(2, 0, {PRIMARY: 2}, SPACE, 2, 7, 1)


def test_nothing_is_embedded_too(embed):
    assert embed([]).summary.embedded_items == 0


def test_a_broken_stream_is_opened_again_and_only_what_has_no_answer_is_sent_again(service, embed):
    sent = []

    def breaks_twice(requests, context):
        sent.append([])
        for item in items_of(requests):
            sent[-1].append(item.id)
            if int(item.id) % 3 == 0 or len(sent) == 3:
                yield answer(item)
            if len(sent) < 3 and len(sent[-1]) == 20:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        yield summary()

    service.embed_stream = breaks_twice
    run = embed(f"text {number}" for number in range(100))
    assert run.texts_by_id().keys() == {str(number) for number in range(100)}
    assert run.summary.streams == 3
    answered = {id for id in sent[0] if int(id) % 3 == 0}
    assert answered and not answered & {*sent[1], *sent[2]}


def test_a_stream_that_just_ends_is_opened_again(service, embed):
    calls = itertools.count()

    def ends_early(requests, context):
        items = items_of(requests)
        yield answer(next(items))
        if next(calls):
            yield from map(answer, items)
            yield summary()

    service.embed_stream = ends_early
    assert embed(["a", "b", "c"]).texts_by_id().keys() == {"0", "1", "2"}


def test_what_will_not_pass_is_raised_with_what_it_leaves(service, address):
    def refuses(requests, context):
        yield answer(next(items_of(requests)))
        context.abort_with_status(refusal(CODES.FAILED_PRECONDITION, "no", error_info("NO_ELIGIBLE_REGION")))

    service.embed_stream = refuses
    with sealane.Client(address) as client:
        run = client.embed_many(["a", "b", "c"], model=MODEL)
        assert next(run).id == "0"
        with pytest.raises(sealane.NoEligibleRegionError):
            list(run)
        assert run.unanswered() == [("1", "b"), ("2", "c")]


def test_a_service_that_stays_away_is_given_up_and_the_log_says_what_was_waited_for(service, embed, caplog):
    def is_away(requests, context):
        list(items_of(requests))  # whoever still sends may hear of a broken connection instead
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    service.embed_stream = is_away
    with pytest.raises(sealane.UnavailableError, match="away"):
        embed(["a"], reconnect_for=0.3)
    told = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert {(name, level) for name, level, _ in told} == {("sealane", "WARNING")}
    assert told[0][2].startswith("an ingestion waits 0.2 s and connects again, for 0 s more at most: ")
    assert told[-1][2].endswith(": UNAVAILABLE: away")


def test_a_refused_item_is_a_value_and_costs_only_itself(service, embed):
    def poison(requests, context):
        for item in items_of(requests):
            yield item_error(item) if item.text == "poison" else answer(item)
        yield summary()

    service.embed_stream = poison
    run = embed(["a", ("b", "poison"), ("c", "x" * ((1 << 20) + 1)), "d"])
    errors = {one.id: one.error for one in run.answers if one.error}
    assert {id: error.reason for id, error in errors.items()} == {
        "b": "PROMPT_BLOCKED",
        "c": "CONTEXT_LENGTH_EXCEEDED",  # never sent: it would not fit into a message
    }
    assert (run.summary.embedded_items, run.summary.failed_items) == (2, 2)
    with pytest.raises(sealane.ItemError, match="item 'b': blocked"):
        next(one for one in run.answers if one.id == "b").vector  # noqa: B018


def test_an_array_has_the_inputs_order_and_names_what_failed(service, address):
    def backwards(requests, context):
        for item in reversed(list(items_of(requests))):
            yield item_error(item) if item.text == "poison" else answer(item)
        yield summary()

    service.embed_stream = backwards
    with sealane.Client(address) as client:
        array = client.embed_many(["a", "bb", "ccc"], model=MODEL).array()
        assert array.dtype == np.float32 and array[:, 0].tolist() == [1, 2, 3]
        with pytest.raises(sealane.ItemsFailedError, match="2 items have no vector; first item 'q': blocked") as caught:
            client.embed_many(["a", ("p", "poison"), ("q", "poison")], model=MODEL).array()
        assert {error.id for error in caught.value.errors} == {"p", "q"}


@pytest.mark.parametrize("change", [{"space": "another/1/2"}, {"packed": b"\0" * 12}])
def test_two_embedding_spaces_never_meet(service, embed, change):
    calls = itertools.count()

    def another_configuration(requests, context):
        items = items_of(requests)
        if not next(calls):
            yield answer(next(items))
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarts")
        changed = answer(next(items), change.get("space", SPACE))
        changed.result.embedding.packed_values = change.get("packed", changed.result.embedding.packed_values)
        yield changed

    service.embed_stream = another_configuration
    with pytest.raises(sealane.FailedPreconditionError) as caught:
        embed(["a", "b"])
    assert caught.value.reason == "EMBEDDING_SPACE_CHANGED"


def test_the_input_is_taken_as_there_is_room_for_it(service, embed):
    taken = 0

    def endless():
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield f"text {number}"

    def reads_some_and_answers_none(requests, context):
        list(itertools.islice(items_of(requests), MOST_UNANSWERED))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "enough")
        yield

    service.embed_stream = reads_some_and_answers_none
    with pytest.raises(sealane.InvalidRequestError):
        embed(endless())
    assert taken == MOST_UNANSWERED


def test_without_numpy_the_way_out_is_told_before_anything_is_sent(service, address, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    opened = []
    service.embed_stream = lambda requests, context: opened.append(1) or all_answered(requests, context)
    with sealane.Client(address) as client:
        with pytest.raises(ImportError, match=r"sealane\[numpy\]"):
            client.embed_many(["a"], model=MODEL).array()
        assert not opened
        item = next(client.embed_many(["a"], model=MODEL))
        with pytest.raises(ImportError, match="as_list"):
            item.vector  # noqa: B018
        assert item.as_list() == [1, 97]


def test_an_async_input(address):
    async def pages():
        for number in range(3):
            await asyncio.sleep(0)
            yield f"page-{number}", "text"

    async def run():
        async with sealane.AsyncClient(address) as client:
            return [one.id async for one in client.embed_many(pages(), model=MODEL)]

    assert sorted(asyncio.run(run())) == ["page-0", "page-1", "page-2"]


def broken_input():
    yield "a"
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("items", "error", "said"),
    [
        ([("a", "x"), ("a", "y")], ValueError, r"items\[1\]: 'a' is the id of an earlier item"),
        ([("", "x")], ValueError, r"items\[0\]: its id must have 1 to 128 bytes"),
        (["a", 7], TypeError, r"items\[1\]: must be a text.* not int"),
        ([{"id": "a", "text": "x"}], TypeError, r"items\[0\]: must be a text.* not dict"),
        ([b"xy"], TypeError, r"items\[0\]: must be a text.* not bytes"),
        ([("a", 7)], TypeError, r"items\[0\]: must be a text"),
        ({"a": "x"}, TypeError, r"pass its items\(\)"),
        (["a", "\ud800"], ValueError, r"items\[1\]"),
        ("one text", TypeError, "put it into a list"),
        (broken_input(), OSError, "the disk is gone"),
    ],
)
def test_input_that_cannot_be_used(service, address, items, error, said):
    def never_answers(requests, context):
        list(requests)
        yield summary()

    service.embed_stream = never_answers
    with sealane.Client(address) as client, pytest.raises(error, match=said):
        list(client.embed_many(items, model=MODEL))


def test_a_service_that_answers_what_nobody_asked(service, embed):
    service.embed_stream = lambda requests, context: iter([answer(inference_pb2.EmbedItem(id="x", text="y"))])
    with pytest.raises(sealane.InternalError, match="has no answer to come: 'x'"):
        embed(["a"])


def test_a_workflow_is_pinned_and_stays_so(service, embed):
    opened = []

    def keeps_the_opening(requests, context):
        opened.append(next(requests).open)
        yield from map(answer, (request.item for request in requests))
        yield summary(pinned_region="francecentral")

    service.embed_stream = keeps_the_opening
    run = sealane.Workflow("w")
    for _ in range(2):
        embed(["a"], workflow=run, dimensions=2, routing={"data_boundary": "eu"})
    assert [one.routing.pinned_region for one in opened] == ["", "francecentral"]
    assert (opened[0].model, opened[0].dimensions, opened[0].routing.workflow_id) == (MODEL, 2, "w")
    assert opened[0].routing.data_boundary == "eu"


def test_progress(embed, monkeypatch, capsys):
    told = []
    embed(["a", "b", "c"], progress=told.append)
    assert sum(told) == 3

    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    embed(["a", "b", "c"], progress=True)
    assert "3 of 3 items" in capsys.readouterr().err

    bars = []

    class FakeTqdm:
        def __init__(self, total, unit):
            self.total, self.done, self.closed = total, 0, False
            bars.append(self)

        def update(self, items):
            self.done += items

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=FakeTqdm))
    embed(["a", "b"], progress=True)
    assert [(bar.total, bar.done, bar.closed) for bar in bars] == [(2, 2, True)]


def test_an_iterator_that_is_dropped_ends_its_call(service, address):
    ended = threading.Event()

    def waits(requests, context):
        context.add_callback(ended.set)
        yield from map(answer, items_of(requests))

    service.embed_stream = waits
    with sealane.Client(address) as client:
        for _ in client.embed_many(map(str, itertools.count()), model=MODEL):
            break
        gc.collect()
        assert ended.wait(10)


def waits_after_the_first(begun):
    """Answers one item, and then none until the call ends."""

    def serve(requests, context):
        yield answer(next(items_of(requests)))
        ended = threading.Event()
        context.add_callback(ended.set)
        begun.set()
        ended.wait(30)

    return serve


@pytest.mark.timeout(30)
def test_a_connection_that_falls_silent_is_replaced(service, address, monkeypatch):
    monkeypatch.setattr(channel, "KEEPALIVE_INTERVAL_MS", 100)
    monkeypatch.setattr(channel, "KEEPALIVE_TIMEOUT_MS", 300)
    service.embed_stream = waits_after_the_first(threading.Event())
    with relaying(address) as relay, sealane.Client(relay.address) as client:
        run = client.embed_many(["a", "b", "c"], model=MODEL)
        assert next(run).id == "0"
        service.embed_stream = all_answered
        relay.freeze()
        assert {one.id for one in run} == {"1", "2"}
        assert run.summary.streams == 2


@pytest.mark.timeout(30)
async def test_whoever_waits_is_told_that_the_client_was_closed(service, address):
    begun = threading.Event()
    service.embed_stream = waits_after_the_first(begun)

    async def embed_all(client):
        return [one async for one in client.embed_many(["a", "b"], model=MODEL)]

    async with sealane.AsyncClient(address) as client:
        waiting = asyncio.create_task(embed_all(client))
        assert await asyncio.to_thread(begun.wait, 10)
        await client.close()
        with pytest.raises(sealane.CallCancelledError, match="closed"):
            await waiting


@pytest.mark.timeout(30)
async def test_whoever_waits_is_told_of_a_reader_that_failed():
    class BreaksAtTheFirstAnswer:
        def __iter__(self):
            return self

        def __aiter__(self):
            return self

        def __next__(self):
            raise RuntimeError("gRPC is broken")

        async def __anext__(self):
            return next(self)

        def cancel(self):
            pass

    stub = types.SimpleNamespace(EmbedStream=lambda requests, metadata: BreaksAtTheFirstAnswer())
    with sealane.Client("localhost:1") as client:
        client.inference = stub
        with pytest.raises(RuntimeError, match="gRPC is broken"):
            next(client.embed_many(["a"], model=MODEL))
    async with sealane.AsyncClient("localhost:1") as client:
        client.inference = stub
        with pytest.raises(RuntimeError, match="gRPC is broken"):
            await anext(client.embed_many(["a"], model=MODEL))


# --- The real service over simulated regions

CHUNKS = 20_000
DIMENSIONS = 1024


def chunks(count=CHUNKS):
    return ((f"chunk-{number}", f"chunk number {number} of a book") for number in range(count))


@pytest.mark.timeout(300)
def test_20_000_chunks_while_the_primary_dies_throttles_and_returns(real, client):
    undisturbed = {}
    for item in client.embed_many(chunks(), model=MODEL, dimensions=16):
        undisturbed[item.id] = item.packed
    assert len(undisturbed) == CHUNKS

    # Since what has no answer is at most MOST_UNANSWERED, each comes while items are still sent.
    events = {
        2_000: lambda: real.primary.fault("down"),
        7_000: lambda: (real.primary.recover(), real.primary.fault("throttle", retry_after_seconds=1)),
        12_000: lambda: real.primary.recover(),
    }
    disturbed, run = {}, client.embed_many(chunks(), model=MODEL, dimensions=16)
    for item in run:
        assert item.id not in disturbed, "each id exactly once"
        disturbed[item.id] = item.packed
        if len(disturbed) in events:
            events[len(disturbed)]()
    assert disturbed == undisturbed
    assert run.summary.embedded_items == CHUNKS and run.summary.failed_items == 0
    assert len(run.summary.items_by_region) == 2, "the standby served what the primary did not"
    assert run.summary.streams == 1, "the service hid it all"


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_services_memory_does_not_grow_with_the_number_of_chunks(real, client):
    early, late, peaks = 10_000, 30_000, {}
    for answered, _ in enumerate(client.embed_many(chunks(late), model=MODEL, dimensions=DIMENSIONS), start=1):
        if answered in (early, late):
            peaks[answered] = real.peak_memory()
    # Were the vectors kept that came after the first reading, they would come to 82 MB. Half of that is for what may be
    # under way at a time: two batches more, where the machine is busy, or all that a slow reader has not taken.
    assert peaks[late] - peaks[early] < 41 << 20, peaks


def test_numpy_reads_what_the_command_writes(real, tmp_path, client):
    texts = [f"text {number}" for number in range(300)]
    (tmp_path / "chunks.jsonl").write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts))
    command = [BINARY, "ingest", "--in", "chunks.jsonl", "--out", "vectors.npy", "--dimensions", "16"]
    environment = {**os.environ, "SEALANE_ADDR": real.address, "SEALANE_TOKEN": TOKEN}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=50, capture_output=True)
    array = np.load(tmp_path / "vectors.npy")
    ids = [json.loads(line) for line in (tmp_path / "vectors.ids.jsonl").read_text().splitlines()]
    assert array.shape == (300, 16) and array.dtype == np.float32 and array.flags.c_contiguous
    expected = client.embed_many(texts, model=MODEL, dimensions=16).array()
    assert (array[[ids.index(text) for text in texts]] == expected).all()


async def test_the_same_from_asyncio_on_a_smaller_scale(real, async_client):
    texts = [f"text {number}" for number in range(3000)]
    expected = await async_client.embed_many(texts, model=MODEL, dimensions=16).array()
    run = async_client.embed_many(texts, model=MODEL, dimensions=16)
    rows = {}
    async for item in run:
        rows[item.index] = item.vector
        if len(rows) == 500:
            real.primary.fault("reset")
    assert (np.stack([rows[index] for index in range(3000)]) == expected).all()


def test_a_poison_chunk_costs_only_itself(client):
    texts = [f"text {number}" for number in range(1000)]
    texts[500] = "word " * 8192 * 2
    texts[700] = "a text with simulate-prompt-block in it"
    run = client.embed_many(texts, model=MODEL, dimensions=16)
    errors = {item.index: item.error for item in run if item.error}
    assert {index: error.reason for index, error in errors.items()} == {
        500: "CONTEXT_LENGTH_EXCEEDED",
        700: "PROMPT_BLOCKED",
    }
    assert all(str(index) in str(error) for index, error in errors.items()), "the error names the item"
    assert run.summary.embedded_items == 998
