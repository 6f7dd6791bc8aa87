"""Secrets and configs in a swarm of several hosts: who has them, where they are and where they are not."""

import base64
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.clients import ask
from tests.cluster.swarms import IMAGE, containers, get, join, make_swarm, nodes, tasks, token, wait_running
from tests.harness.api import ApiError
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

CANARY = "canary-93fe1c07"
QUICK = (
    "-d",
    "--no-resolve-image",
    "--stop-signal",
    "KILL",
    "--restart-delay",
    "0s",
    "--update-monitor",
    "50ms",
    "--rollback-monitor",
    "50ms",
)
FOREVER = ("sleep", "1d")


@dataclass
class Swarm:
    net: Network
    managers: list[Host]
    one: Host
    two: Host

    @property
    def manager(self) -> Host:
        return self.managers[0]

    @property
    def hosts(self) -> list[Host]:
        return [*self.managers, self.one, self.two]


@pytest.fixture(scope="module")
def made() -> Iterator[Swarm]:
    with network("secrets") as net:
        managers = [net.add("m1"), net.add("m2"), net.add("m3")]
        one, two = net.add("one"), net.add("two")
        secret = make_swarm(managers[0])
        for manager in managers[1:]:
            join(manager, managers[0], token(managers[0], "manager"))
        join(one, managers[0], secret)
        join(two, managers[0], secret)
        yield Swarm(net, managers, one, two)
        for host in (*managers, one, two):
            assert "Traceback" not in host.log_file.read_text()


@pytest.fixture
def swarm(made: Swarm) -> Iterator[Swarm]:
    yield made
    for kind in ("service", "secret", "config"):
        ids = made.manager.docker(kind, "ls", "-q").stdout.split()
        if ids:
            made.manager.docker(kind, "rm", *ids)
    for host in made.hosts:
        eventually(partial(lambda host: containers(host) == 0, host), f"no containers on {host.name}", show=host.log)


def secret(on: Host, name: str, data: str, *flags: str) -> str:
    return on.docker("secret", "create", *flags, name, "-", input=data).stdout.strip()


def config(on: Host, name: str, data: str, *flags: str) -> str:
    return on.docker("config", "create", *flags, name, "-", input=data).stdout.strip()


def create(on: Host, name: str, where: str, *flags: str, command: tuple[str, ...] = FOREVER) -> None:
    placed = ("--constraint", where) if where else ()
    on.docker("service", "create", *QUICK, "--name", name, *placed, *flags, IMAGE, *command)


def shell(host: Host, service: str, script: str) -> str:
    """Run a script in the only container of a service on a host, and return what it printed."""
    (container,) = host.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").stdout.split()
    return host.docker("exec", container, "sh", "-c", script).stdout


def shows(host: Host, service: str, text: str) -> bool:
    """Return whether the only container of a service on a host has this in a secret."""
    found = host.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").stdout.split()
    if len(found) != 1:
        return False
    return text in host.docker("exec", found[0], "sh", "-c", "cat /run/secrets/*", check=False).stdout


def last_error(on: Host, service: str) -> str:
    """Return the state and the error of a service's task that was rejected or failed last; empty if there is none."""
    ended = [task for task in tasks(on, service) if task["Status"]["State"] in ("rejected", "failed")]
    return " ".join(f"{task['Status']['State']}: {task['Status'].get('Err', '')}" for task in ended[-1:])


def test_tasks_get_their_secrets_and_configs_whichever_manager_is_asked(swarm: Swarm) -> None:
    follower = swarm.managers[2]
    secret(follower, "key", CANARY)
    config(swarm.managers[1], "site", "text of the site")
    create(
        follower, "web", "node.hostname==one",
        "--secret", "source=key,target=k,uid=65534,gid=50,mode=0400", "--secret", "source=key,target=/etc/other",
        "--config", "source=site,target=/srv/site,mode=0440", "--config", "site",
    )  # fmt: skip
    wait_running(swarm.manager, "web", {"one": 1})
    files = "/run/secrets/k /etc/other /srv/site /site"
    said = shell(swarm.one, "web", f"stat -c '%n %u %g %a' {files}; cat {files}; mount | grep -c ' /run/secrets/k '")
    assert said.splitlines() == [
        "/run/secrets/k 65534 50 400",
        "/etc/other 0 0 444",
        "/srv/site 0 0 440",
        "/site 0 0 444",
        f"{CANARY}{CANARY}text of the sitetext of the site1",
    ]


def test_known_fault_49_the_largest_ones_reach_a_task_whole_and_larger_ones_are_refused(swarm: Swarm) -> None:
    for kind, limit, target in (("secret", 512_000, "/run/secrets/big"), ("config", 1_024_000, "/big")):
        for size in (0, limit):
            body = {"Name": "no", "Data": base64.b64encode(b"x" * size).decode()}  # a newer command counts by itself
            with pytest.raises(ApiError, match=f"{kind} data must be larger than 0 and less than {limit} bytes"):
                ask(swarm.managers[1], "POST", f"/{kind}s/create", body)
        swarm.managers[1].docker(kind, "create", "big", "-", input="x" * (limit - 1))
        create(swarm.manager, f"big-{kind}", "node.hostname==two", f"--{kind}", "big")
        wait_running(swarm.manager, f"big-{kind}", {"two": 1})
        assert shell(swarm.two, f"big-{kind}", f"wc -c < {target}").strip() == str(limit - 1)


def test_known_fault_46_secrets_are_added_and_removed_in_one_update_and_the_tasks_follow(swarm: Swarm) -> None:
    old = secret(swarm.manager, "old", "old-value")
    new = secret(swarm.manager, "new", "new-value")
    create(swarm.manager, "rotated", "node.hostname==one", "--secret", "source=old,target=key")
    eventually(lambda: shows(swarm.one, "rotated", "old-value"), "the old one is there")
    update = ("service", "update", "-d", "--no-resolve-image")
    swarm.manager.docker(*update, "--secret-rm", "old", "--secret-add", "source=new,target=key", "rotated")
    eventually(lambda: shows(swarm.one, "rotated", "new-value"), "the new one is there")
    (found,) = json.loads(swarm.manager.docker("service", "inspect", "rotated").stdout)
    references = found["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert [(one["SecretID"], one["SecretName"], one["File"]["Name"]) for one in references] == [(new, "new", "key")]
    # Docker's command takes only names here. The API takes whole lists, by id and by name.
    references[0].update(SecretID=old, SecretName="old")
    where = f"/services/{found['ID']}/update?version={found['Version']['Index']}"
    ask(swarm.managers[1], "POST", where, found["Spec"])
    eventually(lambda: shows(swarm.one, "rotated", "old-value"), "the old one is there again")


def test_known_fault_51_what_is_in_use_stays_and_a_rollback_finds_it(swarm: Swarm) -> None:
    for name in ("first", "second"):
        secret(swarm.manager, name, f"{name}-value")
    create(swarm.manager, "app", "node.hostname==two", "--secret", "source=first,target=key")
    eventually(lambda: shows(swarm.two, "app", "first-value"), "it runs with the first one")

    def refused(name: str) -> str:
        done = swarm.managers[1].docker("secret", "rm", name, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "secret 'first' is in use by the following service: app" in refused("first")
    update = ("service", "update", "-d", "--no-resolve-image")
    swarm.manager.docker(*update, "--secret-rm", "first", "--secret-add", "source=second,target=key", "app")
    assert "secret 'first' is in use by the following service: app" in refused("first")
    eventually(lambda: shows(swarm.two, "app", "second-value"), "it runs with the second one")
    assert "a rollback of app would need it" in refused("first")
    swarm.manager.docker("service", "rollback", "-d", "app")
    eventually(lambda: shows(swarm.two, "app", "first-value"), "the rollback runs with the first one")
    eventually(
        lambda: get(swarm.manager, "/services/app")["UpdateStatus"]["State"] == "rollback_completed",
        "it is rolled back",
    )
    (container,) = swarm.two.docker("ps", "-q").stdout.split()
    swarm.two.docker("kill", container)  # its task is tried again, with the same secret

    def another() -> bool:
        found = swarm.two.docker("ps", "-q").stdout.split()
        return bool(found) and found != [container] and shows(swarm.two, "app", "first-value")

    eventually(another, "the task is replaced", show=swarm.two.log)
    swarm.manager.docker("service", "rm", "app")
    swarm.manager.docker("secret", "rm", "first", "second")


def test_templates_are_rendered_for_each_task_and_secrets_in_them_stay_secret(swarm: Swarm) -> None:
    secret(swarm.manager, "key", CANARY)
    config(swarm.manager, "plain", "{{.Service.Name}}")
    text = '{{.Service.Name}}.{{.Task.Slot}}@{{.Node.Hostname}} {{env "WHO"}} {{config "/plain"}} {{secret "key"}}'
    config(swarm.manager, "site", text, "--template-driver", "golang")
    create(
        swarm.manager, "tmpl", "node.role==worker", "--replicas", "2", "--env", "WHO=task {{.Task.Slot}}",
        "--secret", "key", "--config", "source=site,target=/site", "--config", "source=plain,target=/plain",
    )  # fmt: skip
    wait_running(swarm.manager, "tmpl", {"one": 1, "two": 1})
    said = {shell(host, "tmpl", "cat /site; echo; hostname").splitlines()[0] for host in (swarm.one, swarm.two)}
    slots = {"one": 0, "two": 0}
    for task in tasks(swarm.manager, "tmpl"):
        name = get(swarm.manager, f"/nodes/{task['NodeID']}")["Description"]["Hostname"]
        slots[name] = task["Slot"]
    assert said == {f"tmpl.{slot}@{name} task {slot} {{{{.Service.Name}}}} {CANARY}" for name, slot in slots.items()}


def test_a_template_that_fails_rejects_the_task_in_dockers_words_without_the_secret(swarm: Swarm) -> None:
    secret(swarm.manager, "key", CANARY)
    broken = config(swarm.manager, "broken", '{{secret "nope"}}', "--template-driver", "golang")
    telling = config(swarm.manager, "telling", '{{range secret "key"}}{{end}}', "--template-driver", "golang")
    for name, object_id, words in (
        ("broken", broken, "error calling secret: secret target nope not found"),
        ("telling", telling, "template: expansion:1:8: what is wrong there is not shown"),
    ):
        create(swarm.manager, name, "node.hostname==one", "--secret", "key", "--config", f"source={name},target=/c",
               "--restart-condition", "none")  # fmt: skip
        said = eventually(partial(last_error, swarm.manager, name), "it is rejected", show=swarm.one.log)
        begin = f"rejected: unable to get config from config store: failed to expand templated config {object_id}: "
        assert said.startswith(begin), said
        assert words in said
        assert CANARY not in json.dumps(tasks(swarm.manager, name))
    assert CANARY not in swarm.one.log_file.read_text()


def test_a_target_that_another_mount_has_and_a_user_that_is_none_reject_the_task(swarm: Swarm) -> None:
    secret(swarm.manager, "key", CANARY)
    for name, flags, words in (
        ("user", ("--secret", "source=key,target=k,uid=nobody"), 'strconv.Atoi: parsing "nobody": invalid syntax'),
        ("twice", ("--secret", "source=key,target=/m", "--mount", "type=tmpfs,target=/m"), "Duplicate mount point: /m"),
    ):
        create(swarm.manager, name, "node.hostname==one", *flags, "--restart-condition", "none")
        said = eventually(partial(last_error, swarm.manager, name), "it ends", show=swarm.one.log)
        assert words in said


def test_a_removed_service_leaves_nothing_of_its_secrets_on_its_node(swarm: Swarm) -> None:
    secret(swarm.manager, "key", CANARY)
    create(swarm.manager, "gone", "node.hostname==one", "--secret", "key")
    wait_running(swarm.manager, "gone", {"one": 1})
    assert len(secret_mounts(swarm.one)) == 1
    swarm.manager.docker("service", "rm", "gone")
    swarm.manager.docker("secret", "rm", "key")  # at once, as `docker stack rm` does
    eventually(lambda: not secret_mounts(swarm.one), "unmounted", show=swarm.one.log)
    eventually(lambda: containers(swarm.one) == 0, "removed")
    assert places_with_canary(swarm.one) == []


def test_running_containers_keep_their_secrets_without_a_manager_and_a_rebooted_host_asks_again(swarm: Swarm) -> None:
    secret(swarm.manager, "key", CANARY)
    create(swarm.manager, "lasting", "node.hostname==one", "--secret", "key")
    wait_running(swarm.manager, "lasting", {"one": 1})
    (before,) = swarm.one.docker("ps", "-q").stdout.split()
    swarm.net.cut(swarm.one)
    try:
        for how in (signal.SIGTERM, signal.SIGKILL):
            swarm.one.stop(how)
            swarm.one.start()
            assert swarm.one.docker("ps", "-q").stdout.split() == [before]
            assert shell(swarm.one, "lasting", "cat /run/secrets/key") == CANARY
    finally:
        swarm.net.heal(swarm.one)
    eventually(lambda: nodes(swarm.manager)["one"] == "Ready", "it is back", patience=60, show=swarm.one.log)
    wait_running(swarm.manager, "lasting", {"one": 1}, patience=60)
    swarm.one.go_down()
    assert CANARY.encode() not in b"".join(map(_read, _files(swarm.one)))
    swarm.one.start()
    eventually(
        lambda: containers(swarm.one) == 1 and shell(swarm.one, "lasting", "cat /run/secrets/key") == CANARY,
        "the task after the reboot has its secret", patience=60, show=swarm.one.log,
    )  # fmt: skip


def test_the_canary_is_in_the_container_and_nowhere_else(swarm: Swarm) -> None:
    secret(swarm.manager, "key", CANARY)
    config(swarm.manager, "made", 'x {{secret "key"}}', "--template-driver", "golang")
    create(
        swarm.manager, "holder", "node.role==worker", "--replicas", "2", "--secret", "key",
        "--config", "source=made,target=/made",
    )  # fmt: skip
    wait_running(swarm.manager, "holder", {"one": 1, "two": 1})
    for host in (swarm.one, swarm.two):
        assert shell(host, "holder", "cat /run/secrets/key /made") == f"{CANARY}x {CANARY}"
    swarm.manager.docker("secret", "inspect", "--pretty", "key")
    # Everything once that a user or an operator may ask for.
    shown = [
        swarm.manager.docker(*words.split(), check=False).stdout
        for words in (
            "secret inspect key", "secret inspect --pretty key", "secret ls", "service inspect holder",
            "service ps --no-trunc holder", "service logs holder", "events --since 1h --until 0s",
        )
    ]  # fmt: skip
    shown.append(json.dumps([get(swarm.manager, path) for path in ("/secrets", "/secrets/key", "/tasks", "/services")]))
    (container,) = swarm.one.docker("ps", "-q").stdout.split()
    shown.append(swarm.one.docker("inspect", container).stdout)
    assert CANARY not in "".join(shown)
    assert base64.b64encode(CANARY.encode()).decode() not in "".join(shown)
    for host in swarm.hosts:
        assert places_with_canary(host) == [], host.name
    swarm.one.stop(signal.SIGABRT)  # a crash leaves no core
    assert not list(Path().glob("core*"))
    assert places_with_canary(swarm.one) == []
    swarm.one.start()


def test_an_external_driver_is_refused_and_nothing_is_stored(swarm: Swarm) -> None:
    done = swarm.manager.docker("secret", "create", "--driver", "vault", "x", check=False)
    assert done.returncode == 1
    assert 'plugin "vault" not found' in done.stderr
    assert swarm.manager.docker("secret", "ls", "-q").stdout == ""


def test_a_credential_spec_is_kept_and_its_tasks_are_rejected_on_linux(swarm: Swarm) -> None:
    object_id = config(swarm.manager, "cred", "{}")
    create(swarm.manager, "windows", "", "--credential-spec", "config://cred", "--restart-condition", "none")
    (found,) = json.loads(swarm.manager.docker("service", "inspect", "windows").stdout)
    spec = found["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert spec["Privileges"]["CredentialSpec"]["Config"] == object_id
    assert [(one["ConfigID"], "Runtime" in one) for one in spec["Configs"]] == [(object_id, True)]
    said = eventually(partial(last_error, swarm.manager, "windows"), "it is rejected")
    assert f'invalid --security-opt 2: "credentialspec=config://{object_id}"' in said
    done = swarm.manager.docker("config", "rm", "cred", check=False)
    assert "config 'cred' is in use by the following service: windows" in done.stderr


def test_labels_are_changed_and_nothing_else(swarm: Swarm) -> None:
    object_id = secret(swarm.manager, "key", CANARY, "--label", "a=1")
    found = get(swarm.managers[1], f"/secrets/{object_id}")
    assert found["Spec"] == {"Name": "key", "Labels": {"a": "1"}}
    where = f"/secrets/{object_id}/update?version={found['Version']['Index']}"
    with pytest.raises(ApiError, match="only updates to Labels are allowed"):
        ask(swarm.managers[1], "POST", where, {"Name": "key", "Data": base64.b64encode(b"other").decode()})
    ask(swarm.managers[1], "POST", where, {"Name": "key", "Labels": {"b": "2"}})
    assert swarm.manager.docker("secret", "ls", "-q", "--filter", "label=b=2").stdout.split() == [object_id]


def secret_mounts(host: Host) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(host.folder) in line and " - ramfs " in line]


def places_with_canary(host: Host) -> list[str]:
    """Return every place of a host where the canary lies and should not: all of its files, and what its processes tell.

    The ramfs of its containers is where it should lie; only root may look there.
    """
    needles = [CANARY.encode(), base64.b64encode(CANARY.encode())[:-4]]
    own = [line.split()[4] for line in secret_mounts(host)]
    found = []
    for path in _files(host):
        if any(str(path).startswith(f"{point}/") for point in own):
            continue
        data = _read(path)
        found += [str(path) for needle in needles if needle in data]
    for pid in {*host.processes(), *_below(host)}:
        for name in ("environ", "cmdline"):
            data = _read(Path(f"/proc/{pid}/{name}"))
            found += [f"{name} of {pid}" for needle in needles if needle in data]
    for point in own:
        assert Path(point).stat().st_mode & 0o777 == 0o700
        assert run("setpriv", "--reuid=65534", "--clear-groups", "ls", point, check=False).returncode
    return found


def _below(host: Host) -> set[int]:
    return {int(pid) for root in host._cgroups(host.tag()) for path in root.rglob("cgroup.procs")
            for pid in path.read_text().split()}  # fmt: skip


def _files(host: Host) -> Iterator[Path]:
    # Not rglob, because files disappear meanwhile.
    for folder, _, names in os.walk(host.folder):
        yield from (Path(folder) / name for name in names)


def _read(path: Path) -> bytes:
    try:
        # A container's own view of its files is another mount, which is not in this namespace.
        return path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    except OSError:
        return b""


def test_pids_of_the_canary_test_are_real(swarm: Swarm) -> None:
    """The search looks at the daemons, at etcd and at containers, or it would show nothing."""
    create(swarm.manager, "seen", "node.hostname==one", command=("env", f"LEAK={CANARY}", "sleep", "1d"))
    wait_running(swarm.manager, "seen", {"one": 1})
    found = places_with_canary(swarm.one)
    assert any(place.startswith("environ of ") for place in found), found
    assert any(str(swarm.one.data_root / "containers") in place for place in found), found
    assert swarm.one.pid in swarm.one.processes()
    assert os.getpid() not in swarm.one.processes()
