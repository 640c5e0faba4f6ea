"""Two simulated regions and the service over them, for each test; and an index of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import running_service
import sealane
from fake_elastic import FakeElastic

from knowledge_engine.elastic import ElasticStore
from knowledge_engine.store import SqliteStore, Store

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture
def real(tmp_path: Path) -> Iterator[running_service.Service]:
    with running_service.running(tmp_path) as service:
        yield service


@pytest.fixture
def client(real: running_service.Service) -> Iterator[sealane.Client]:
    with sealane.Client(real.address, token=running_service.TOKEN) as client:
        yield client


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    store = SqliteStore(tmp_path / "index.sqlite")
    yield store
    store.close()


@pytest.fixture
def elastic() -> Iterator[FakeElastic]:
    with FakeElastic() as server:
        yield server


@pytest.fixture(params=["sqlite", "elasticsearch"])
def store(request: pytest.FixtureRequest, sqlite_store: Store, elastic: FakeElastic) -> Store:
    return sqlite_store if request.param == "sqlite" else ElasticStore(elastic.index, api_key="a-key-of-the-tests")
