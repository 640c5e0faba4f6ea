"""Embeddings."""

from __future__ import annotations

import base64
import math
import struct

import pytest

from conftest import settle


async def test_vectors_in_both_encodings(plain_client):
    async def vectors(**asked):
        answer = await settle(plain_client.embeddings.create(model="embed-3", **asked))
        assert (answer.object, answer.model) == ("list", "text-embedding-3-large")
        assert [row.index for row in answer.data] == list(range(len(answer.data)))
        assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
        return [row.embedding for row in answer.data]

    texts = ["first", "second"]
    # Unless told otherwise, the SDK asks for base64 behind its user's back and decodes it.
    plain = await vectors(input=texts)
    floats = await vectors(input=texts, encoding_format="float")
    packed = await vectors(input=texts, encoding_format="base64")
    unpacked = [list(struct.unpack(f"<{3072}f", base64.b64decode(text))) for text in packed]
    for one, other, third in zip(plain, floats, unpacked, strict=True):
        assert len(one) == 3072
        assert one == pytest.approx(other, abs=1e-7) and one == third
        assert math.hypot(*one) == pytest.approx(1, abs=1e-4)


async def test_short_vectors_of_tokens(plain_client):
    answer = await settle(plain_client.embeddings.create(model="embed-3", input=[[1, 2], [3]], dimensions=8, user="u"))
    assert [len(row.embedding) for row in answer.data] == [8, 8]
