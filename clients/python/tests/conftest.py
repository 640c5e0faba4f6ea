"""A running service for each test: what one test does to a region, the service remembers, and must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import running_service

import sealane


@pytest.fixture
def real(tmp_path: Path) -> Iterator[running_service.Service]:
    with running_service.running(tmp_path) as service:
        yield service


@pytest.fixture
def client(real: running_service.Service) -> Iterator[sealane.Client]:
    with sealane.Client(real.address, token=running_service.TOKEN) as client:
        yield client


@pytest.fixture
async def async_client(real: running_service.Service) -> AsyncIterator[sealane.AsyncClient]:
    async with sealane.AsyncClient(real.address, token=running_service.TOKEN) as client:
        yield client
