"""Where the client connects to, and what it sends there."""

import json
from pathlib import Path

import pytest

import sealane
from sealane.channel import connection, default_timeouts, read_service_config

PUBLISHED = Path(__file__).resolve().parents[2] / "service_config.json"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    monkeypatch.delenv("SEALANE_ADDR", raising=False)
    monkeypatch.delenv("SEALANE_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("address", "target", "encrypted"),
    [
        (None, "localhost:50051", False),
        ("sealane.internal:50051", "sealane.internal:50051", False),
        ("dns:///sealane.internal:50051", "dns:///sealane.internal:50051", False),
        ("http://localhost:50051/", "localhost:50051", False),
        ("https://sealane.internal", "sealane.internal:443", True),
        ("https://sealane.internal:8443", "sealane.internal:8443", True),
    ],
)
def test_addresses(address, target, encrypted):
    settled = connection(address, None, None, False)
    assert (settled.target, settled.credentials is not None) == (target, encrypted)


def test_the_environment_fills_in_what_is_not_given(monkeypatch):
    monkeypatch.setenv("SEALANE_ADDR", "127.0.0.1:1")
    monkeypatch.setenv("SEALANE_TOKEN", "from-env")
    assert connection(None, None, None, False).target == "127.0.0.1:1"
    assert ("authorization", "Bearer from-env") in connection(None, None, None, False).metadata(())
    assert ("authorization", "Bearer mine") in connection("localhost:2", "mine", None, False).metadata(())


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.2:1", "[::1]:1", "dns:///localhost:1", "unix:/tmp/x"])
def test_a_token_may_travel_in_plain_text_on_this_machine(address):
    connection(address, "t", None, False)


@pytest.mark.parametrize("address", ["sealane:50051", "http://10.0.0.1:1", "dns:///localhost.example:1", "[fe80::1]:1"])
def test_a_token_never_leaves_the_machine_in_plain_text_unasked(address):
    with pytest.raises(ValueError, match="plain text"):
        connection(address, "t", None, False)
    connection(address, "t", None, True)
    connection(address, "t", True, False)


def test_a_token_is_asked_for_at_every_call():
    tokens = iter(["one", "two"])
    settled = connection(None, lambda: next(tokens), None, False)
    assert [dict(settled.metadata(()))["authorization"] for _ in range(2)] == ["Bearer one", "Bearer two"]


def test_an_address_with_a_path_is_refused():
    with pytest.raises(ValueError, match="path"):
        sealane.Client("https://sealane.internal/v1")


def test_the_packaged_service_config_is_the_published_one():
    assert read_service_config() == json.loads(PUBLISHED.read_text("utf-8"))


def test_only_unary_calls_have_a_default_timeout():
    assert default_timeouts() == {"Complete": 300.0, "Embed": 60.0, "RegionStatus": 5.0}
    options = dict(connection(None, None, None, False).options)
    assert '"timeout"' not in options["grpc.service_config"], "gRPC would let no call exceed it"
