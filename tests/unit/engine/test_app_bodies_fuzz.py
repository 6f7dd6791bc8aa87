"""Any body of a create or an update is answered, and what is stored of it does no harm."""

import contextlib
import json
import logging
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.agent.executor import container_config, expand_spec
from shoal.agent.payloads import collect, files
from shoal.agent.worker import Dependencies
from shoal.api import v1 as api
from shoal.errors import ShoalError
from shoal.manager.control import Control, SoleManager
from shoal.manager.deciders import deciders_of_tasks
from shoal.manager.deciding.cascade import Cascade
from shoal.store.changes import Object
from shoal.store.memory import Transaction
from tests.harness.api_bodies import CALLS, LISTS, WITH_PORT, with_files
from tests.harness.hostile import bent
from tests.unit.engine.fakes import FakeTable, backend, client, manager_node
from tests.unit.engine.host_fakes import FakeVolumes
from tests.unit.manager.certificates.test_issuing import cluster as cluster_of_ours

KINDS = {"services": "service", "secrets": "secret", "configs": "config", "nodes": "node", "swarm": "swarm"}


def objects() -> list[Object]:
    named: Any = {"annotations": {"name": "fuzzed"}}
    cluster = cluster_of_ours()
    cluster.id = "swarm"
    cluster.spec.annotations.name = "default"
    service = api.Service(id="service", spec=named)
    service.spec.task.container.image = "bb"
    service.spec.replicated.replicas = 1
    node = api.Node(id="node", role=api.MANAGER, spec={"desired_role": api.MANAGER})
    node.spec.membership = api.NodeSpec.ACCEPTED
    node.status.state = api.NodeStatus.READY
    node.description.hostname = "host"
    node.description.resources.memory_bytes = node.description.resources.nano_cpus = 1 << 40
    other = api.Service(id="other", spec={"annotations": {"name": "other"}})
    other.spec.task.container.image = "bb"
    other.spec.replicated.replicas = 1
    named["data"] = b"hi"
    return [cluster, service, other, node, api.Secret(id="secret", spec=named), api.Config(id="config", spec=named)]


def version_of(store: Any, path: str) -> int:
    kind = KINDS.get(path.split("/")[1])
    view = store.view()
    tables = (view.services, view.secrets, view.configs, view.nodes, view.clusters)
    return next((table.get(kind).meta.version.index for table in tables if kind and table.get(kind)), 0)


def filled(path: str, version: int) -> str:
    names = {name: name for name in ("service", "secret", "config", "container", "node")}
    return path.format(version=version, **names)


async def decide(store: Any) -> None:
    """Run the deciders and the node's executor on what was stored."""
    transaction = Transaction(store.view())
    Cascade(deciders_of_tasks(Random(1))).run(transaction, 1_700_000_000.0)
    node = transaction.nodes.get("node")
    assert node is not None
    held = Dependencies()
    told = api.AssignmentsMessage(type=api.AssignmentsMessage.COMPLETE)
    for secret in transaction.secrets.all():
        told.changes.add().assignment.secret.CopyFrom(secret)
    for config in transaction.configs.all():
        told.changes.add().assignment.config.CopyFrom(config)
    held.apply(told)
    for task in transaction.tasks.all():
        with contextlib.suppress(ShoalError):
            container_config(task, node.description)
        with contextlib.suppress(ShoalError):
            files(task, expand_spec(task, node.description), node.description, collect(task, held))


@pytest.mark.parametrize("path", sorted(CALLS))
async def test_the_bodies_that_are_bent_are_right_ones(path: str) -> None:
    node, store = manager_node(*objects())
    async with client(backend(node=node, volumes=FakeVolumes(), network=FakeTable())) as http:
        answer = await http.post(filled(path, version_of(store, path)), json=CALLS[path])
        text = await answer.text()
        # This release has no containers that users create.
        absent = path.startswith(("/networks/{id}", "/containers"))
        assert answer.status in ((404, 501) if absent else (200, 201)), text


async def test_the_service_with_a_secret_and_a_config_is_a_right_one() -> None:
    node, _ = manager_node(*objects())
    async with client(backend(node=node, volumes=FakeVolumes(), network=FakeTable())) as http:
        answer = await http.post("/services/create", json=WITH_FILES)
        assert answer.status == 201, await answer.text()


WITH_FILES = with_files("secret", "config")
# Twice, so that half of the services that are asked for name a secret and a config.
ASKED = [*CALLS.items(), ("/services/create", WITH_PORT), *[("/services/create", WITH_FILES)] * 2]
bodies = st.sampled_from(ASKED).flatmap(lambda call: st.tuples(st.just(call[0]), bent(call[1])))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(asked=st.lists(bodies, min_size=1, max_size=6))
async def test_any_body_is_answered_and_the_swarm_goes_on(asked: Any, caplog: pytest.LogCaptureFixture) -> None:
    node, store = manager_node(*objects())
    node.manager = Control(
        store,  # type: ignore[arg-type]
        SoleManager("node", "10.0.0.1:2377"),
        lambda: 1_700_000_000.0,
        expand=expand_spec,
    )
    with caplog.at_level(logging.ERROR):
        async with client(backend(node=node, volumes=FakeVolumes(), network=FakeTable())) as http:
            for path, body in asked:
                where = filled(path, version_of(store, path))
                answer = await http.post(where, data=json.dumps(body), headers={"Content-Type": "application/json"})
                text = await answer.text()
                assert answer.status in (200, 201, 204, 400, 403, 404, 409, 413, 500, 501, 503), text
                assert answer.status != 500 or json.loads(text)["message"] == "update out of sequence" or expected(text)
                await decide(store)
                for listed in LISTS:
                    shown = await http.get(listed)
                    assert shown.status == 200, (listed, await shown.text())
                    json.loads(await shown.text(), parse_constant=lambda word: pytest.fail(word))
    other = store.view().services.get("other")
    assert other is not None
    assert other.spec == objects()[2].spec
    assert not caplog.records, caplog.text


def expected(text: str) -> bool:
    """Return whether Docker answers with 500, too: a network is not there, a message too large, a constraint wrong."""
    constraint = ("constraint expected one operator", "' is invalid")  # SwarmKit's constraint.Parse, code Unknown
    return any(words in json.loads(text)["message"] for words in ("not found", "too large", *constraint))
