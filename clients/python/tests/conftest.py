"""One running service for the whole session; every test leaves its regions healthy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import running_service

import sealane


@pytest.fixture(scope="session")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running_service.Service]:
    with running_service.running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def real(_service: running_service.Service) -> Iterator[running_service.Service]:
    yield _service
    _service.heal()


@pytest.fixture
def client(real: running_service.Service) -> Iterator[sealane.Client]:
    with sealane.Client(real.address, token=running_service.TOKEN) as client:
        yield client


@pytest.fixture
async def async_client(real: running_service.Service) -> AsyncIterator[sealane.AsyncClient]:
    async with sealane.AsyncClient(real.address, token=running_service.TOKEN) as client:
        yield client
