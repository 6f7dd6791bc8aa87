from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.compose.convert.namespace import STACK
from tests.harness.recorder import recorder
from tests.unit.cli.daemons import daemon
from tests.unit.cli.stacks import shoal, write
from tests.unit.engine.fakes import manager_node
from tests.unit.manager.stores import MemoryStore

STACKS = Path(__file__).parents[2] / "interop" / "stacks"
Captured = pytest.CaptureFixture[str]


def test_what_is_there_is_updated_and_what_is_new_is_made(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}, b: {image: b}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        assert capsys.readouterr().out.splitlines() == [
            *("Creating network s_default", "Creating service s_a", "Creating service s_b"),
        ]
        write(tmp_path, c_yaml="services: {a: {image: a}, c: {image: c}}")
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "--prune", "s") == 0
        assert capsys.readouterr().out.splitlines() == [
            *("Removing service s_b", "Updating service s_a (id: services-s_a)", "Creating service s_c"),
        ]
        assert set(made.made["services"]) == {"s_a", "s_c"}


def test_an_external_network_must_be_there(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a, networks: [n]}}\nnetworks: {n: {external: true}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 1
        assert "there is no network n, which is external" in capsys.readouterr().err
        assert not made.made["services"]


@pytest.mark.parametrize(("labels", "whose"), [({}, "of no stack"), ({STACK: "o"}, "of the stack o")])
def test_a_network_that_is_in_the_way_is_told_before_anything_is_made(
    labels: dict[str, str], whose: str, tmp_path: Path, capsys: Captured
) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}}")
    with recorder(tmp_path) as (url, made):
        made.made["networks"]["s_default"] = {"Name": "s_default", "Labels": labels}
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 1
        assert capsys.readouterr().err == (
            f"shoal: a network s_default is there, and is {whose}: "
            "remove it, or say in the file that it is external, with this name\n"
        )
        assert not made.made["services"]


@pytest.mark.parametrize("owner", ["o", "s"])
def test_a_network_that_another_makes_meanwhile_is_told_at_once(owner: str, tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}}")
    with recorder(tmp_path) as (url, made):

        def taken(method: str, path: str) -> tuple[int, str] | None:
            if path != "/networks/create":
                return None
            made.made["networks"]["s_default"] = {"Name": "s_default", "Labels": {STACK: owner}}
            return 409, "network with name s_default already exists"

        made.before = taken
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == (owner != "s")
        said = capsys.readouterr()
        assert ("s_default is there, and is of the stack o" in said.err) == (owner != "s")
        assert "Waiting" not in said.out


def test_a_removed_network_that_has_not_gone_yet_is_waited_for(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}}")
    with recorder(tmp_path) as (url, made):
        refusals = [(409, "network with name s_default already exists")] * 2
        made.before = lambda method, path: refusals.pop() if path == "/networks/create" and refusals else None
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        assert capsys.readouterr().out.splitlines() == [
            "Creating network s_default",
            "Waiting until the network s_default that was removed has gone",
            "Creating service s_a",
        ]


def test_a_service_that_changed_meanwhile_is_updated_as_it_is_then(tmp_path: Path) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0

        def forced(method: str, path: str) -> None:
            if path.startswith("/distribution/") and not made.versions:
                made.made["services"]["s_a"]["TaskTemplate"]["ForceUpdate"] = 7
                made.changed("services", "s_a")

        made.before = forced
        write(tmp_path, c_yaml="services: {a: {image: a, hostname: h}}")
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        task = made.made["services"]["s_a"]["TaskTemplate"]
        assert (task["ForceUpdate"], task["ContainerSpec"]["Hostname"]) == (7, "h")


def test_the_image_that_a_service_got_meanwhile_is_kept(tmp_path: Path) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}}")
    flags = ("deploy", "-d", "--resolve-image=changed", "-c", str(tmp_path / "c.yaml"), "s")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, *flags) == 0
        write(tmp_path, c_yaml="services: {a: {image: a, secrets: [x]}}\nsecrets: {x: {file: x}}", x="1")

        def pinned(method: str, path: str) -> None:
            if path == "/secrets/create":
                made.made["services"]["s_a"]["TaskTemplate"]["ContainerSpec"]["Image"] = "a:latest@sha256:1"
                made.changed("services", "s_a")

        made.before = pinned
        assert shoal(url, *flags) == 0
        assert made.made["services"]["s_a"]["TaskTemplate"]["ContainerSpec"]["Image"] == "a:latest@sha256:1"


def test_a_service_that_is_removed_meanwhile_is_made_anew(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        capsys.readouterr()
        made.before = lambda method, path: made.made["services"].clear() if path.startswith("/distribution/") else None
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        assert capsys.readouterr().out == "Creating service s_a\n"
        assert set(made.made["services"]) == {"s_a"}


@pytest.mark.parametrize(
    "name", ["voting-app", "redis-replicated", "jobs", "health", "everything", "mounts", "ports", "zeros", "labels"]
)
def test_the_engine_api_takes_a_stack_and_shows_no_difference_then(name: str, tmp_path: Path, capsys: Captured) -> None:
    ingress = api.NetworkSpec(annotations=api.Annotations(name="ingress"), ingress=True)
    node, store = manager_node(api.Node(id="m1"), api.Network(id="ingress", spec=ingress))
    flags = ("--resolve-image=never", "-c", str(STACKS / f"{name}.yaml"), "s")
    with daemon(tmp_path, node) as url:
        assert shoal(url, "deploy", "-d", *flags) == 0
        made = {service.id: service.spec.SerializeToString(deterministic=True) for service in services(store)}
        capsys.readouterr()
        assert (shoal(url, "diff", *flags), capsys.readouterr().out) == (0, "")
        assert shoal(url, "deploy", "-d", *flags) == 0
        assert {each.id: each.spec.SerializeToString(deterministic=True) for each in services(store)} == made
        assert shoal(url, "rm", "-d", "s") == 0
    assert not services(store)


def services(store: MemoryStore) -> list[api.Service]:
    return list(store.view().table(api.Service).all())
