"""Client of Sealane: chat completions and embeddings, kept alive across Azure OpenAI regions.

import sealane

with sealane.Client() as client:
    for piece in client.complete_stream("gpt-4o", "Why is the sky blue?").text_chunks():
        print(piece, end="", flush=True)
"""

from importlib import metadata as _metadata

from sealane.aio import AsyncClient
from sealane.aio_embed_many import AsyncIngestion
from sealane.channel import Tls
from sealane.client import Client
from sealane.embed_many import Ingestion
from sealane.errors import (
    CallCancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    NoEligibleRegionError,
    NotFoundError,
    PermissionDeniedError,
    SealaneError,
    StreamInterruptedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    Violation,
    from_rpc_error,
)
from sealane.ingestion import EmbeddedItem, IngestionSummary, ItemError, ItemsFailedError
from sealane.replies import as_array, as_lists, text_of
from sealane.streams import AsyncCompletionStream, CompletionStream
from sealane.workflow import Workflow

__version__ = _metadata.version("sealane")

__all__ = [
    "AsyncClient",
    "AsyncCompletionStream",
    "AsyncIngestion",
    "CallCancelledError",
    "Client",
    "CompletionStream",
    "DeadlineExceededError",
    "EmbeddedItem",
    "FailedPreconditionError",
    "Ingestion",
    "IngestionSummary",
    "InternalError",
    "InvalidRequestError",
    "ItemError",
    "ItemsFailedError",
    "MessageTooLargeError",
    "NoEligibleRegionError",
    "NotFoundError",
    "PermissionDeniedError",
    "SealaneError",
    "StreamInterruptedError",
    "ThrottledError",
    "Tls",
    "UnauthenticatedError",
    "UnavailableError",
    "Violation",
    "Workflow",
    "as_array",
    "as_lists",
    "from_rpc_error",
    "text_of",
]
