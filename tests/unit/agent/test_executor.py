"""From a task to a container."""

import pytest

from shoal.agent.executor import container_config, container_id, must_pull
from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.errors import InvalidArgument, ShoalError, Unimplemented
from shoal.runtime.types import ContainerConfig, HealthConfig, Image, Mount, Ulimit
from tests.unit.agent.fakes import NODE, task


def test_a_plain_task_says_little() -> None:
    assert container_config(task(), NODE) == ContainerConfig(
        name="web.1.t1",
        image="busybox:latest",
        entrypoint=("sleep", "1000"),
        labels={
            "com.docker.swarm.task": "",
            "com.docker.swarm.task.id": "t1",
            "com.docker.swarm.task.name": "web.1.t1",
            "com.docker.swarm.node.id": "node-1",
            "com.docker.swarm.service.id": "s1",
            "com.docker.swarm.service.name": "web",
        },
    )


def test_every_field_of_a_spec_reaches_the_container() -> None:
    made = task()
    spec = made.spec.container
    spec.args.append("arg")
    spec.dir, spec.user, spec.hostname, spec.stop_signal = "/w", "1:2", "{{.Node.Hostname}}-x", "SIGINT"
    spec.groups.append("3")
    spec.env.append("SLOT={{.Task.Slot}}")
    spec.env.append("GONE")
    spec.labels["a"] = "b"
    spec.tty = spec.open_stdin = spec.read_only = True
    spec.init.value = True
    spec.stop_grace_period.CopyFrom(duration(2.5))
    spec.healthcheck.test.extend(["CMD-SHELL", "true"])
    spec.healthcheck.interval.CopyFrom(duration(1))
    spec.healthcheck.retries = 4
    spec.hosts.extend(["10.0.0.1 db alias", "broken"])
    spec.dns_config.nameservers.append("9.9.9.9")
    spec.dns_config.search.append("example")
    spec.dns_config.options.append("ndots:2")
    spec.capability_add.append("CAP_NET_ADMIN")
    spec.capability_drop.append("ALL")
    spec.ulimits.add(name="nofile", soft=10, hard=20)
    spec.sysctls["net.core.somaxconn"] = "1"
    spec.pidsLimit = 7
    spec.oom_score_adj = 5
    spec.privileges.seccomp.mode = api.Privileges.SeccompOpts.UNCONFINED
    spec.privileges.apparmor.mode = api.Privileges.AppArmorOpts.DISABLED
    spec.privileges.no_new_privileges = True
    made.spec.resources.limits.nano_cpus = 500_000_000
    made.spec.resources.limits.memory_bytes = 1 << 20
    made.spec.resources.swap_bytes.value = -1
    made.spec.resources.memory_swappiness.value = 0
    made.assigned_generic_resources.add(named_resource_spec={"kind": "gpu", "value": "a"})
    made.assigned_generic_resources.add(named_resource_spec={"kind": "gpu", "value": "b"})
    made.assigned_generic_resources.add(discrete_resource_spec={"kind": "ssd", "value": 3})
    made.networks.add().network.spec.annotations.name = "host"
    made.networks[0].network.spec.annotations.labels["com.docker.swarm.predefined"] = "true"
    config = container_config(made, NODE)
    assert (config.command, config.working_dir, config.user, config.groups) == (("arg",), "/w", "1:2", ("3",))
    assert (config.hostname, config.stop_signal, config.stop_timeout) == ("host-1-x", "SIGINT", 2.5)
    assert config.env == ("SLOT=1", "GONE", "DOCKER_RESOURCE_GPU=a,b", "DOCKER_RESOURCE_SSD=3")
    assert config.generic == (("gpu", "a"), ("gpu", "b"))
    assert config.labels["a"] == "b"
    assert (config.tty, config.open_stdin, config.read_only, config.init) == (True, True, True, True)
    assert config.health == HealthConfig(test=("CMD-SHELL", "true"), interval=1.0, retries=4)
    assert config.hosts == (("10.0.0.1", ("db",)),)
    assert (config.dns, config.dns_search, config.dns_options) == (("9.9.9.9",), ("example",), ("ndots:2",))
    assert (config.cap_add, config.cap_drop) == (("CAP_NET_ADMIN",), ("ALL",))
    assert (config.ulimits, config.sysctls) == ((Ulimit("nofile", 10, 20),), {"net.core.somaxconn": "1"})
    assert (config.pids_limit, config.oom_score_adj, config.nano_cpus) == (7, 5, 500_000_000)
    assert (config.memory_bytes, config.memory_swap_bytes, config.memory_swappiness) == (1 << 20, -1, 0)
    assert (config.seccomp, config.apparmor, config.no_new_privileges) == ("unconfined", "disabled", True)
    assert config.network == "host"


def test_mounts_are_expanded_and_carried_over() -> None:
    made = task()
    volume = made.spec.container.mounts.add(type=api.Mount.VOLUME, source="data-{{.Task.Slot}}", target="/d")
    volume.volume_options.labels["slot"] = "{{.Task.Slot}}"
    volume.volume_options.driver_config.name = "local"
    volume.volume_options.driver_config.options["type"] = "{{.Service.Name}}"
    bind = made.spec.container.mounts.add(type=api.Mount.BIND, source="/src", target="/b", readonly=True)
    bind.bind_options.propagation = api.Mount.BindOptions.RSLAVE
    tmpfs = made.spec.container.mounts.add(type=api.Mount.TMPFS, target="/t")
    tmpfs.tmpfs_options.size_bytes = 10
    tmpfs.tmpfs_options.mode = 0o700
    tmpfs.tmpfs_options.options = '[["noexec"],["uid","1"]]'
    assert container_config(made, NODE).mounts == (
        Mount(
            "volume",
            "/d",
            "data-1",
            volume_driver="local",
            volume_options={"type": "web"},
            volume_labels={"slot": "1"},
        ),
        Mount("bind", "/b", "/src", read_only=True, propagation="rslave"),
        Mount("tmpfs", "/t", tmpfs_size_bytes=10, tmpfs_mode=0o700, tmpfs_options=("noexec", "uid=1")),
    )


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (api.Mount(target="x"), "invalid mount target, must be an absolute path: x"),
        (api.Mount(source="x", target="/x"), "invalid bind mount source, must be an absolute path: x"),
        (
            api.Mount(type=api.Mount.VOLUME, source="/x", target="/x"),
            "invalid volume mount source, must not be an absolute path: /x",
        ),
        (
            api.Mount(type=api.Mount.TMPFS, source="x", target="/x"),
            "invalid tmpfs source, source must be empty",
        ),
        (api.Mount(type=api.Mount.CLUSTER, target="/x"), "invalid mount type: CLUSTER"),
    ],
)
def test_a_wrong_mount_is_refused_in_dockers_words(mount: api.Mount, message: str) -> None:
    made = task()
    made.spec.container.mounts.append(mount)
    with pytest.raises(InvalidArgument) as caught:
        container_config(made, NODE)
    assert str(caught.value) == message


def test_a_global_tasks_name_and_slot_are_its_nodes() -> None:
    made = task()
    made.slot = 0
    made.spec.container.env.append("S={{.Task.Slot}}")
    config = container_config(made, NODE)
    assert (config.name, config.env) == ("web.node-1.t1", ("S=node-1",))


def test_what_is_no_container_is_refused_and_not_ignored() -> None:
    attachment = task()
    attachment.spec.attachment.container_id = "c"
    with pytest.raises(Unimplemented):
        container_config(attachment, NODE)


@pytest.mark.parametrize("source", ["config", "file", "registry"])
def test_a_credential_spec_is_refused_in_the_words_of_an_engine_on_linux(source: str) -> None:
    made = task()
    setattr(made.spec.container.privileges.credential_spec, source, "x")
    with pytest.raises(InvalidArgument) as raised:
        container_config(made, NODE)
    assert str(raised.value) == f'invalid --security-opt 2: "credentialspec={source}://x"'


def test_an_image_is_required() -> None:
    with pytest.raises(ShoalError, match="dockerexec: image required"):
        container_config(task(image=""), NODE)


def test_a_container_id_follows_from_the_tasks() -> None:
    assert container_id("t1") == container_id("t1") != container_id("t2")
    assert len(container_id("t1")) == 64


@pytest.mark.parametrize(
    ("reference", "digests", "expected"),
    [
        ("app:latest", None, True),
        ("app:latest", ("app@sha256:1",), True),
        ("app:latest", (), False),
        ("app:latest@sha256:1", ("app@sha256:1",), False),
        ("app:latest@sha256:1", None, True),
        ("sha256:1", None, False),
    ],
)
def test_a_tag_is_pulled_again_unless_it_never_came_from_a_registry(
    reference: str, digests: tuple[str, ...] | None, expected: bool
) -> None:
    present = None if digests is None else Image("sha256:x", {}, (), 0, (), digests, 0.0)
    assert must_pull(reference, present) is expected


def test_the_label_says_when_the_registry_is_asked() -> None:
    here, loaded = (Image("sha256:x", {}, (), 0, (), digests, 0.0) for digests in (("app@sha256:1",), ()))
    asked = {
        policy: tuple(must_pull("app:latest", present, policy) for present in (None, here, loaded))
        for policy in ("always", "missing", "never")
    }
    assert asked == {"always": (True, True, True), "missing": (True, False, False), "never": (False, False, False)}
