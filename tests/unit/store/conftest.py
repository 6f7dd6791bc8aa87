"""A real etcd for the tests that need one. It needs neither root nor network, and ends with the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.paths import Paths
from shoal.store.etcd_process import EtcdConfig, EtcdProcess

# Ready in less than 0.1 s. In a test a faster tick may use more CPU.
QUICK = EtcdConfig(heartbeat_ms=10, election_ms=50)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data", tmp_path / "exec")


@pytest.fixture
async def etcd(paths: Paths) -> AsyncIterator[EtcdProcess]:
    async with EtcdProcess(paths, QUICK) as process:
        yield process
