import pytest

from shoal import errors
from shoal.api import times
from shoal.api import v1 as api
from shoal.ca.tokens import parse_token, root_digest
from shoal.manager.control.clusters import DEFAULT_RAFT, validate_cluster_spec
from tests.unit.manager.control.conftest import Make

ROOT = b"-----BEGIN CERTIFICATE-----\n"


def spec(**fields: object) -> api.ClusterSpec:
    return api.ClusterSpec(annotations=api.Annotations(name="default"), **fields)  # type: ignore[arg-type]


def cluster() -> api.Cluster:
    return api.Cluster(
        id="c",
        spec=spec(ca_config=api.CAConfig(signing_ca_cert=ROOT, signing_ca_key=b"secret")),
        root_ca=api.RootCA(
            ca_key=b"secret",
            ca_cert=ROOT,
            join_tokens=api.JoinTokens(worker="w", manager="m"),
            root_rotation=api.RootRotation(ca_cert=b"next", ca_key=b"secret"),
        ),
        network_bootstrap_keys=[api.EncryptionKey(key=b"secret")],
        unlock_keys=[api.EncryptionKey(subsystem="other", key=b"secret")],
    )


def update(to: api.ClusterSpec, index: int = 1, **rotation: bool) -> api.UpdateClusterRequest:
    return api.UpdateClusterRequest(
        cluster_id="c",
        cluster_version=api.Version(index=index),
        spec=to,
        rotation=api.KeyRotation(**rotation),
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (api.ClusterSpec(), "modification of cluster name is not allowed"),
        (
            spec(ca_config=api.CAConfig(node_cert_expiry=times.duration(3599))),
            "minimum certificate expiry time is: 1h0m0s",
        ),
        (
            spec(dispatcher=api.DispatcherConfig(heartbeat_period=times.duration(-1))),
            "heartbeat time period cannot be a negative duration",
        ),
        (
            spec(ca_config=api.CAConfig(signing_ca_key=b"k")),
            "if a signing CA key is provided, the signing CA cert must also be provided",
        ),
    ],
)
def test_wrong_spec_is_refused_in_dockers_words(wrong: api.ClusterSpec, message: str) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        validate_cluster_spec(wrong)
    assert str(raised.value) == message


async def test_no_reply_holds_a_key(make: Make) -> None:
    control, _ = make(cluster())
    for public in (
        (await control.get_cluster(api.GetClusterRequest(cluster_id="c"))).cluster,
        (await control.list_clusters(api.ListClustersRequest())).clusters[0],
        (await control.update_cluster(update(spec()))).cluster,
    ):
        assert b"secret" not in public.SerializeToString()
        assert not public.spec.ca_config.signing_ca_cert
        assert (public.root_ca.ca_cert, public.root_ca.join_tokens.worker) == (ROOT, "w")
        assert (list(public.defaultAddressPool), public.subnetSize, public.VXLANUDPPort) == (["10.0.0.0/8"], 24, 4789)


async def test_given_pools_and_port_are_shown(make: Make) -> None:
    given = cluster()
    given.defaultAddressPool.append("192.168.0.0/16")
    given.subnetSize, given.VXLANUDPPort = 26, 5000
    control, _ = make(given)
    public = (await control.get_cluster(api.GetClusterRequest(cluster_id="c"))).cluster
    assert (list(public.defaultAddressPool), public.subnetSize, public.VXLANUDPPort) == (["192.168.0.0/16"], 26, 5000)


async def test_update_replaces_the_spec_as_a_whole(make: Make) -> None:
    control, store = make(cluster())
    new = spec(orchestration=api.OrchestrationConfig(task_history_retention_limit=2))
    await control.update_cluster(update(new))
    stored = store.view().clusters.get("c")
    assert stored is not None
    assert stored.spec == new
    assert stored.root_ca == cluster().root_ca
    with pytest.raises(errors.OutOfSequence):
        await control.update_cluster(update(spec()))


async def test_tokens_rotate_one_by_one(make: Make) -> None:
    control, _ = make(cluster())
    tokens = (await control.update_cluster(update(spec(), worker_join_token=True))).cluster.root_ca.join_tokens
    assert parse_token(tokens.worker).digest == root_digest(ROOT)
    assert tokens.manager == "m"
    again = (await control.update_cluster(update(spec(), 2, manager_join_token=True))).cluster.root_ca.join_tokens
    assert again.worker == tokens.worker
    assert parse_token(again.manager).digest == root_digest(ROOT)


@pytest.mark.parametrize(
    "later",
    [
        spec(task_defaults=api.TaskDefaults(log_driver=api.Driver(options={"tag": "x"}))),
    ],
)
async def test_what_comes_later_is_refused(make: Make, later: api.ClusterSpec) -> None:
    control, store = make(cluster())
    with pytest.raises(errors.Unimplemented):
        await control.update_cluster(update(later))
    assert store.commits == []


async def test_settings_of_raft_are_kept_and_said_to_change_nothing(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    control, store = make(cluster())
    caplog.set_level("INFO")
    other = api.RaftConfig(snapshot_interval=500, keep_old_snapshots=3)
    for version, raft in enumerate((DEFAULT_RAFT, other, other), 1):
        await control.update_cluster(update(spec(raft=raft), version))
        stored = store.view().clusters.get("c")
        assert stored is not None
        assert stored.spec.raft == raft
    assert len([text for text in caplog.messages if "etcd has its own" in text]) == 2


async def test_unlock_key_is_made_kept_rotated_and_dropped(make: Make) -> None:
    control, store = make(cluster())
    locked = spec(encryption_config=api.EncryptionConfig(auto_lock_managers=True))
    held = []
    for version, (new, rotate) in enumerate([(locked, False), (locked, False), (locked, True), (spec(), True)], 1):
        await control.update_cluster(update(new, version, manager_unlock_key=rotate))
        stored = store.view().clusters.get("c")
        assert stored is not None
        held.append([key.key for key in stored.unlock_keys if key.subsystem == "swarm-manager"])
        assert [key.key for key in stored.unlock_keys if key.subsystem == "other"] == [b"secret"]
    first, kept, rotated, dropped = held
    assert (len(first), kept, len(rotated), dropped) == (1, first, 1, [])
    assert rotated != first


@pytest.mark.parametrize("call", ["get_cluster", "update_cluster"])
async def test_unknown_cluster_is_not_found(make: Make, call: str) -> None:
    control, _ = make()
    requests = {"get_cluster": api.GetClusterRequest(cluster_id="c"), "update_cluster": update(spec())}
    with pytest.raises(errors.NotFound, match=r"^cluster c not found$"):
        await getattr(control, call)(requests[call])
