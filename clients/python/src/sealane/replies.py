"""Reads replies: the text of an answer, and vectors in whichever encoding they came."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from sealane.v1 import inference_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def text_of(reply: inference_pb2.CompleteResponse) -> str:
    """The first choice's text; empty if the content filter withheld it or the model only asked for tools."""
    return "".join(part.text for part in reply.choices[0].message.content) if reply.choices else ""


def as_lists(reply: inference_pb2.EmbedResponse) -> list[list[float]]:
    """The vectors as plain lists, in the order of the inputs."""
    return [_as_list(embedding) for embedding in reply.embeddings]


def as_array(reply: inference_pb2.EmbedResponse) -> NDArray[np.float32]:
    """The vectors as one float32 array of shape (inputs, dimensions). Needs `pip install sealane[numpy]`.

    Quickest with `encoding=VECTOR_ENCODING_FLOAT32_LE_BYTES` in the request.
    """
    import numpy as np

    rows = [
        np.frombuffer(e.packed_values, dtype="<f4") if e.packed_values else np.array(e.values, dtype=np.float32)
        for e in reply.embeddings
    ]
    if not rows:
        return np.empty((0, reply.dimensions), dtype=np.float32)
    return np.stack(rows).astype(np.float32, copy=False)


def _as_list(embedding: inference_pb2.Embedding) -> list[float]:
    packed = embedding.packed_values
    return list(struct.unpack(f"<{len(packed) // 4}f", packed)) if packed else list(embedding.values)
