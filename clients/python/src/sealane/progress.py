"""How far an ingestion is: whatever counts, such as tqdm's bar, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sized
from typing import TypeAlias

Progress: TypeAlias = "bool | Callable[[int], object] | None"
"""What shows progress: a function that is called with the number of items answered since its last call, such as
`tqdm.update`; or True for a bar of tqdm's if it is installed, else a line on standard error every few seconds."""

LINE_INTERVAL = 5.0
"""Seconds between two lines."""


class Bar:
    """Passes progress on."""

    def __init__(self, progress: Progress, items: object) -> None:
        total = len(items) if isinstance(items, Sized) else None
        self.update: Callable[[int], object] = _nothing
        self.close: Callable[[], object] = _done
        if progress is True:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                lines = _Lines(total)
                self.update, self.close = lines.update, lines.close
            else:
                bar = tqdm(total=total, unit="item")
                self.update, self.close = bar.update, bar.close
        elif callable(progress):
            self.update = progress
        elif progress:
            raise TypeError("progress: must be True or a function")


class _Lines:
    def __init__(self, total: int | None) -> None:
        self._of = f" of {total}" if total is not None else ""
        self._done = 0
        self._start = time.monotonic()
        self._told = self._start

    def update(self, items: int) -> None:
        self._done += items
        if time.monotonic() - self._told >= LINE_INTERVAL:
            self._tell()

    def close(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        rate = self._done / max(self._told - self._start, 0.001)
        print(f"sealane: {self._done}{self._of} items, {rate:.0f}/s", file=sys.stderr)


def _nothing(_: int) -> None:
    pass


def _done() -> None:
    pass
