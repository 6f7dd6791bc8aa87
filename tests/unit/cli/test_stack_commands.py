import json
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.cli import stack_waiting
from tests.harness.recorder import recorder
from tests.unit.cli.daemons import daemon
from tests.unit.cli.stacks import shoal, write
from tests.unit.cli.tasks import SPEC, status, task
from tests.unit.engine.fakes import manager_node

Captured = pytest.CaptureFixture[str]


def test_config_prints_what_can_be_read_again(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        compose_yaml="name: p\nservices: {w: {image: a, command: 'echo $$A', labels: &l {a: 'b'}, privileged: true}}",
    )
    assert shoal("unix:///nowhere", "config", "--format", "json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["services"]["w"]["command"] == ["echo", "$A"]
    assert said.err.startswith("shoal: compose.yaml:2:")
    assert "services.w.privileged: Swarm has nothing like it" in said.err
    assert shoal("unix:///nowhere", "config") == 0
    first = capsys.readouterr().out
    write(tmp_path, compose_yaml=first)
    assert shoal("unix:///nowhere", "config") == 0
    assert capsys.readouterr().out == first
    assert "$$A" in first


def test_variables_can_be_left_as_they_are(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, compose_yaml="services: {w: {image: 'a:${TAG:-x}'}}")
    assert shoal("unix:///nowhere", "config", "--skip-interpolation") == 0
    assert "image: a:${TAG:-x}" in capsys.readouterr().out


def test_a_strict_deploy_refuses_what_swarm_cannot_do(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {w: {image: a, privileged: true}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "--strict", "-c", str(tmp_path / "c.yaml"), "s") == 1
        assert "nothing was deployed" in capsys.readouterr().err
        assert not made.made["services"]
        assert shoal(url, "deploy", "-d", "-q", "-c", str(tmp_path / "c.yaml"), "s") == 0
        assert capsys.readouterr().out == ""


def test_a_deploy_that_is_no_more_waited_for_goes_on(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stack_waiting, "wait", interrupted)
    write(tmp_path, c_yaml="services: {w: {image: a}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "--resolve-image=never", "-c", str(tmp_path / "c.yaml"), "s") == 130
        assert capsys.readouterr().err == (
            "shoal: the deploy goes on without this command: shoal stack ps s shows how far it is\n"
        )
        assert set(made.made["services"]) == {"s_w"}


def test_diff_shows_fields_and_changes_nothing(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {w: {image: 'a:1'}, gone: {image: 'a:1'}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "diff", "-c", str(tmp_path / "c.yaml"), "s") == 1
        assert capsys.readouterr().out.splitlines() == ["+ network s_default", "+ service s_gone", "+ service s_w"]
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        capsys.readouterr()
        assert shoal(url, "diff", "-c", str(tmp_path / "c.yaml"), "s") == 0
        assert capsys.readouterr().out == ""
        write(tmp_path, c_yaml="services: {w: {image: 'a:2', deploy: {replicas: 3}}}")
        before = json.dumps(made.made)
        assert shoal(url, "diff", "-c", str(tmp_path / "c.yaml"), "--prune", "s") == 1
        assert capsys.readouterr().out.splitlines() == [
            '~ service s_w: Labels.com.docker.stack.image: "a:1" -> "a:2"',
            "~ service s_w: Mode.Replicated.Replicas: 1 -> 3",
            '~ service s_w: TaskTemplate.ContainerSpec.Image: "a:1" -> "a:2"',
            "- service s_gone",
        ]
        assert json.dumps(made.made) == before


def test_stacks_and_services_are_listed_and_removed(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {w: {image: 'a:1'}}\nsecrets: {s: {file: f.txt}}", f_txt="x")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        capsys.readouterr()
        assert shoal(url, "ls") == 0
        assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["NAME", "SERVICES"], ["s", "1"]]
        assert shoal(url, "services", "-q", "s") == 0
        assert capsys.readouterr().out == "services-s_w\n"
        assert shoal(url, "services", "other") == 1
        assert capsys.readouterr().err == "shoal: nothing is there of stack other\n"
        assert shoal(url, "rm", "-d", "s", "other") == 0
        said = capsys.readouterr()
        assert said.out.splitlines() == ["Removing service s_w", "Removing secret s_s", "Removing network s_default"]
        assert said.err == "shoal: nothing is there of stack other\n"
        assert not any(made.made.values())


def test_the_engine_api_answers_what_the_listings_ask(tmp_path: Path, capsys: Captured) -> None:
    labels = {"com.docker.stack.namespace": "s"}
    spec = api.ServiceSpec(annotations=api.Annotations(name="s_web", labels=labels), task=SPEC.task)
    spec.replicated.replicas = 2
    one = task("t1", "web-id", slot=1, node_id="m1", status=status(api.RUNNING))
    one.service_annotations.CopyFrom(spec.annotations)
    node, _ = manager_node(
        api.Service(id="web-id", spec=spec),
        api.Node(id="m1", description=api.NodeDescription(hostname="host-1")),
        one,
        task("t2", "other", slot=1, node_id="m1", status=status(api.RUNNING)),
    )
    with daemon(tmp_path, node) as url:
        for command in (["ls"], ["services", "s"], ["ps", "s"]):
            assert shoal(url, *command) == 0
    found = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert found[:2] == [["NAME", "SERVICES"], ["s", "1"]]
    assert found[3][:3] == ["web-id", "s_web", "replicated"]
    assert [line[:4] for line in found[5:]] == [["t1", "s_web.1", "busybox:1", "host-1"]]
