"""A worker sends anything at all to a real manager: hostile bodies to every method that it may call.

SHOAL_FUZZ_SEED sets the seed. tests/simulation/test_hostile_workers.py does the same with many more cases, over a store
in memory.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import ProtocolError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from shoal.ca.csr import make_csr, new_key
from tests.cluster.swarms import token
from tests.harness.hostile_calls import METHODS, Call, calls
from tests.harness.inside import play
from tests.harness.stolen_worker import (
    Speaker,
    StolenWorker,
    disk_bytes,
    etcd_of,
    memory_bytes,
    stolen_worker,
)

pytestmark = pytest.mark.root

SEED = int(os.environ.get("SHOAL_FUZZ_SEED", "20261128"))  # fixed, because another seed each time would be another test
CASES, CALLS_A_CASE = 15, 20
PATIENCE = 0.3  # seconds for an answer
DISK, MEMORY = 96 << 20, 128 << 20


@pytest.fixture(scope="module")
def worker() -> Iterator[StolenWorker]:
    with stolen_worker("bodies") as position:
        yield position


async def make(speaker: Speaker, call: Call, told: Counter[str]) -> None:
    method = call.method
    outcome = "waited"
    try:
        async with asyncio.timeout(PATIENCE):
            request = speaker.channel.request(method.path, method.cardinality, method.request, method.reply)
            async with request as stream:
                sent = call.with_session(speaker.session_id)
                for number, message in enumerate(sent, 1):
                    await stream.send_message(message, end=number == len(sent))
                while await stream.recv_message() is not None:
                    outcome = "answered"
    except GRPCError as error:
        outcome = error.status.name
    except (TimeoutError, StreamTerminatedError, ProtocolError, ConnectionError):
        pass  # it may be cut off, or go on without an end
    told[outcome] += 1
    told[method.path] += 1


async def say_all(worker: StolenWorker, cases: list[list[Call]], told: Counter[str]) -> None:
    """Send everything, and register again whenever the session has ended. The swarm must be well after each case."""
    waiting = list(reversed(cases))
    while waiting:
        async with worker.speaks() as speaker:
            while waiting and await speaker.is_live():
                for call in waiting.pop():
                    await make(speaker, call, told)
                await asyncio.to_thread(worker.check)


def test_whatever_a_worker_says_its_manager_goes_on(worker: StolenWorker) -> None:
    manager = worker.manager
    before = disk_bytes(manager), memory_bytes(manager.pid), memory_bytes(etcd_of(manager))
    known: dict[str, Any] = {
        "task_id": st.sampled_from([worker.own_id, worker.own_id, worker.others_task["ID"]]),
        "node_id": st.sampled_from([worker.identity.node_id, worker.others_task["NodeID"]]),
        "token": st.sampled_from(["", token(manager)]),
        "csr": st.just(make_csr(new_key())),
    }
    cases: list[list[Call]] = []

    @seed(SEED)
    @settings(max_examples=CASES, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(calls(known), min_size=CALLS_A_CASE // 2, max_size=CALLS_A_CASE))
    def draw(said: list[Call]) -> None:
        cases.append(said)

    draw()
    told: Counter[str] = Counter()
    play(worker.host, lambda: say_all(worker, cases, told))
    assert set(METHODS) <= set(told)
    assert told["answered"]
    worker.check_changes()
    assert disk_bytes(manager) - before[0] < DISK
    assert memory_bytes(manager.pid) - before[1] < MEMORY
    assert memory_bytes(etcd_of(manager)) - before[2] < MEMORY
