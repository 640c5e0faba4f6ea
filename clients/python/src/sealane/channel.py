"""How both clients reach the service: address, credentials, channel options, default timeouts."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc

DEFAULT_ADDRESS = "localhost:50051"
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Largest message in either direction; gRPC's own default of 4 MiB is 681 vectors of 1536 numbers."""
KEEPALIVE_INTERVAL_MS = 30_000
"""How often a connection with a call on it is asked whether it still lives: a stream without a timeout would wait for
ever for a service whose machine has gone."""
KEEPALIVE_TIMEOUT_MS = 10_000
"""How long its answer may take."""

Token: TypeAlias = "str | Callable[[], str]"
"""A bearer token, or a function that is asked for it at every call, so that tokens can rotate."""

CallMetadata: TypeAlias = "Sequence[tuple[str, str | bytes]]"
"""gRPC metadata to send with a call; keys in lower case."""


@dataclass(frozen=True)
class Tls:
    """How to verify the service and, optionally, prove who we are. All values are PEM."""

    root_certificates: bytes | None = None
    """Certificates to trust instead of the system's."""
    private_key: bytes | None = None
    """Key of the client certificate."""
    certificate_chain: bytes | None = None
    """Client certificate, followed by its issuers."""


@dataclass(frozen=True)
class Connection:
    """Everything needed to open a channel and to call on it."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: list[tuple[str, Any]]
    token: Token | None

    def metadata(self, extra: CallMetadata) -> tuple[tuple[str, str | bytes], ...]:
        """Metadata of one call: the reply size we take, the bearer token, and whatever the caller adds."""
        own: list[tuple[str, str | bytes]] = [("x-sealane-max-recv-bytes", str(MAX_MESSAGE_BYTES))]
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            own.append(("authorization", f"Bearer {token}"))
        return (*own, *extra)


def connection(
    address: str | None, token: Token | None, tls: Tls | bool | None, allow_plaintext_token: bool
) -> Connection:
    """Settles address, token and transport from the arguments and the environment."""
    address = address or os.environ.get("SEALANE_ADDR") or DEFAULT_ADDRESS
    token = token or os.environ.get("SEALANE_TOKEN") or None
    target = address
    if address.startswith(("http://", "https://")):
        parts = urlsplit(address)
        if parts.path.strip("/") or parts.query:
            raise ValueError(f"address: {address!r} must not have a path")
        default_port = 443 if parts.scheme == "https" else 80
        target = parts.netloc if parts.port else f"{parts.netloc}:{default_port}"
        tls = tls if tls is not None else parts.scheme == "https"
    local = _is_local(target)
    if token and not tls and not local and not allow_plaintext_token:
        raise ValueError(
            f"a token would travel in plain text to {target}; "
            "pass tls=True, or allow_plaintext_token=True if the network encrypts it"
        )
    return Connection(target, _credentials(tls), _options(local), token)


def _credentials(tls: Tls | bool | None) -> grpc.ChannelCredentials | None:
    if not tls:
        return None
    tls = Tls() if tls is True else tls
    return grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)


def _is_local(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    host = urlsplit(f"//{target.rpartition('/')[2]}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _options(local: bool) -> list[tuple[str, Any]]:
    service_config = read_service_config()
    for method in service_config["methodConfig"]:
        # gRPC takes the smaller of this and the call's own timeout. Ours is a default that a call may exceed.
        method.pop("timeout", None)
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.primary_user_agent", f"sealane-python/{metadata.version('sealane')}"),
        # gRPC's own two minutes are longer than a restart of the service takes.
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # Of gRPC's own pings, behind which ours wait; its default is a minute.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # By default gRPC stops asking after the second time that nothing was sent in between.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_http_proxy", 0 if local else 1),
    ]


def read_service_config() -> Any:
    """The service config published with the service: balancing, retries and timeouts of unary calls."""
    return json.loads(resources.files("sealane").joinpath("service_config.json").read_text("utf-8"))


def default_timeouts() -> dict[str, float]:
    """Seconds by method name, for the unary calls. Streams have none: they end when they end."""
    return {
        name["method"]: float(method["timeout"].removesuffix("s"))
        for method in read_service_config()["methodConfig"]
        if "timeout" in method
        for name in method["name"]
    }
