import pytest

from shoal import errors
from shoal.api import times
from shoal.api import v1 as api
from shoal.api.engines import MANAGER_PLUGIN
from shoal.ca.root import create_root
from tests.unit.manager.control.conftest import NOW, Make

CLUSTER = api.Cluster(id="c", spec=api.ClusterSpec(annotations=api.Annotations(name="default")))


def node(node_id: str, hostname: str = "", *, manager: bool = False, **fields: object) -> api.Node:
    role = api.MANAGER if manager else api.WORKER
    made = api.Node(
        id=node_id, role=role, spec=api.NodeSpec(desired_role=role, annotations={"labels": {"disk": "ssd"}})
    )
    if hostname:
        made.description.hostname = hostname
        made.description.engine.labels["os"] = "linux"
    made.MergeFrom(api.Node(**fields))  # type: ignore[arg-type]
    return made


def update(old: api.Node, **fields: object) -> api.UpdateNodeRequest:
    spec = api.NodeSpec()
    spec.CopyFrom(old.spec)
    for name, value in fields.items():
        setattr(spec, name, value)
    return api.UpdateNodeRequest(node_id=old.id, node_version=old.meta.version, spec=spec)


async def test_manager_status_is_shown_and_not_stored(make: Make) -> None:
    control, store = make(node("m1", manager=True), node("w1"))
    shown = (await control.get_node(api.GetNodeRequest(node_id="m1"))).node
    assert shown.manager_status == api.ManagerStatus(
        raft_id=1, addr="10.0.0.1:2377", leader=True, reachability=api.RaftMemberStatus.REACHABLE
    )
    listed = (await control.list_nodes(api.ListNodesRequest())).nodes
    assert [each.HasField("manager_status") for each in listed] == [True, False]
    stored = store.view().nodes.get("m1")
    assert stored is not None
    assert not stored.HasField("manager_status")


async def test_list_filters(make: Make) -> None:
    control, _ = make(
        node("m1", "alpha", manager=True), node("w1", "beta"), node("w2"), node("w3", "gamma", spec={"membership": 1})
    )

    async def found(**filters: object) -> list[str]:
        request = api.ListNodesRequest(filters=api.ListNodesRequest.Filters(**filters))  # type: ignore[arg-type]
        return [each.id for each in (await control.list_nodes(request)).nodes]

    assert await found() == ["m1", "w1", "w2", "w3"]
    assert await found(names=["beta"]) == ["w1"]
    assert await found(name_prefixes=["al", "be"]) == ["m1", "w1"]
    assert await found(id_prefixes=["w"]) == ["w1", "w2", "w3"]
    assert await found(labels={"os": "linux"}) == ["m1", "w1", "w3"]
    assert await found(node_labels={"disk": "ssd"}) == ["m1", "w1", "w2", "w3"]
    assert await found(node_labels={"disk": "hdd"}) == []
    assert await found(roles=[api.MANAGER]) == ["m1"]
    assert await found(memberships=[api.NodeSpec.ACCEPTED]) == ["w3"]


async def test_update_stores_the_spec_as_it_is(make: Make) -> None:
    control, store = make(node("w1"))
    old = store.view().nodes.get("w1")
    assert old is not None
    new = (await control.update_node(update(old, availability=api.NodeSpec.DRAIN))).node
    assert new.spec.availability == api.NodeSpec.DRAIN
    with pytest.raises(errors.OutOfSequence):
        await control.update_node(update(old, availability=api.NodeSpec.ACTIVE))


async def test_last_manager_is_not_demoted(make: Make) -> None:
    control, store = make(node("m1", manager=True), node("w1"))
    old = store.view().nodes.get("m1")
    assert old is not None
    with pytest.raises(errors.FailedPrecondition) as raised:
        await control.update_node(update(old, desired_role=api.WORKER))
    assert str(raised.value) == "attempting to demote the last manager of the swarm"


@pytest.mark.parametrize(
    ("demoted", "error", "message"),
    [
        (
            "m1",
            errors.FailedPrecondition,
            "can't remove member from the raft: this would result in a loss of quorum",
        ),
        ("m2", errors.NotFound, "can't find manager in raft memberlist"),
    ],
)
async def test_demotion_asks_the_quorum(make: Make, demoted: str, error: type[Exception], message: str) -> None:
    control, store = make(node("m1", manager=True), node("m2", manager=True))
    old = store.view().nodes.get(demoted)
    assert old is not None
    with pytest.raises(error) as raised:
        await control.update_node(update(old, desired_role=api.WORKER))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("node_id", "force", "error", "message"),
    [
        (
            "m1",
            True,
            errors.FailedPrecondition,
            "node m1 is a cluster manager and is a member of the raft cluster. "
            "It must be demoted to worker before removal",
        ),
        ("up", False, errors.FailedPrecondition, "node up is not down and can't be removed"),
        ("x", True, errors.NotFound, "node x not found"),
        ("", True, errors.InvalidArgument, "invalid argument"),
    ],
)
async def test_removal_is_refused(make: Make, node_id: str, force: bool, error: type[Exception], message: str) -> None:
    control, _ = make(CLUSTER, node("m1", manager=True), node("up", status={"state": api.NodeStatus.READY}))
    with pytest.raises(error) as raised:
        await control.remove_node(api.RemoveNodeRequest(node_id=node_id, force=force))
    assert str(raised.value) == message


@pytest.mark.parametrize("state", [api.NodeStatus.DOWN, api.NodeStatus.UNKNOWN, api.NodeStatus.DISCONNECTED])
async def test_removal_shuts_the_node_out_and_orphans_its_tasks(make: Make, state: api.NodeStatus.State) -> None:
    cluster = api.Cluster()
    cluster.CopyFrom(CLUSTER)
    cluster.blacklisted_certificates["old"].expiry.CopyFrom(times.timestamp(NOW - 8 * 24 * 3600))
    cluster.blacklisted_certificates["recent"].expiry.CopyFrom(times.timestamp(NOW - 6 * 24 * 3600))
    control, store = make(
        cluster,
        node("w1", status={"state": state}),
        api.Task(id="running", node_id="w1", status={"state": api.RUNNING}),
        api.Task(id="ended", node_id="w1", status={"state": api.FAILED, "err": "exit 1"}),
        api.Task(id="elsewhere", node_id="w2", status={"state": api.RUNNING}),
    )
    await control.remove_node(api.RemoveNodeRequest(node_id="w1"))
    view = store.view()
    assert view.nodes.get("w1") is None
    assert set(next(iter(view.clusters.all())).blacklisted_certificates) == {"recent", "w1"}
    states = {task.id: (task.status.state, task.status.message) for task in view.tasks.all()}
    assert states == {
        "running": (api.ORPHANED, "Task belonged to a node that has been deleted"),
        "ended": (api.FAILED, ""),
        "elsewhere": (api.RUNNING, ""),
    }
    assert len(store.commits) == 1


async def test_a_node_with_a_long_history_is_removed_at_once(make: Make) -> None:
    """Known fault 72: the transaction was larger than one may be, so such a node could never be removed."""
    ended = (
        api.Task(id=f"t{number}", node_id="w1", service_id="web", status={"state": api.SHUTDOWN})
        for number in range(20_000)
    )
    control, store = make(CLUSTER, node("w1", status={"state": api.NodeStatus.DOWN}), *ended)
    await control.remove_node(api.RemoveNodeRequest(node_id="w1"))
    assert store.view().nodes.get("w1") is None
    assert store.commits == [2]  # the node, and the cluster that shuts its certificate out


async def test_blacklist_keeps_when_the_certificate_ends(make: Make) -> None:
    root = create_root(NOW)
    control, store = make(
        CLUSTER,
        node("w1", certificate={"certificate": root.certs_pem}),
        node("w2", certificate={"certificate": b"nonsense"}),
    )
    for node_id in ("w1", "w2"):
        await control.remove_node(api.RemoveNodeRequest(node_id=node_id))
    entries = next(iter(store.view().clusters.all())).blacklisted_certificates
    assert times.instant(entries["w1"].expiry) > NOW + 19 * 365 * 24 * 3600
    assert not entries["w2"].HasField("expiry")


async def test_docker_engine_is_not_promoted(make: Make) -> None:
    engine, ours, unknown = node("w1", "docker"), node("w2", "shoal"), node("w3")
    engine.description.engine.engine_version = "20.10.24"
    kind, name = MANAGER_PLUGIN
    ours.description.engine.plugins.add(type=kind, name=name)
    control, store = make(node("m1", manager=True), engine, ours, unknown)

    def stored(node_id: str) -> api.Node:
        found = store.view().nodes.get(node_id)
        assert found is not None
        return found

    with pytest.raises(errors.FailedPrecondition, match=r"node docker runs Docker Engine 20\.10\.24, which cannot be"):
        await control.update_node(update(stored("w1"), desired_role=api.MANAGER))
    for node_id in ("w2", "w3"):
        await control.update_node(update(stored(node_id), desired_role=api.MANAGER))
        assert stored(node_id).spec.desired_role == api.MANAGER


async def test_a_label_of_ours_that_is_unknown_is_refused_unless_it_is_there_already(make: Make) -> None:
    stored = node("w1")
    stored.spec.annotations.labels["shoal.later"] = "1"
    control, store = make(stored)
    old = store.view().nodes.get("w1")
    assert old is not None
    request = update(old, availability=api.NodeSpec.DRAIN)
    request.spec.annotations.labels["shoal.other"] = "1"
    with pytest.raises(errors.InvalidArgument, match=r"^label shoal\.other: a node has no such option"):
        await control.update_node(request)
    assert store.view().nodes.get("w1") == old
    await control.update_node(update(old, availability=api.NodeSpec.DRAIN))
