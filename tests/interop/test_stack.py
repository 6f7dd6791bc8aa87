"""`shoal stack` with a real daemon: deploy, look, change, deploy again, fail, remove."""

import subprocess
import sys
from pathlib import Path

from tests.harness.hosts import Host, eventually, patient

APP = """
services:
  web:
    image: bb:latest
    command: sleep 1000
    init: true
    networks: [back]
    deploy: {replicas: %(replicas)d}
    environment: {ROUND: "%(round)s"}
  more:
    image: bb:latest
    command: sleep 1000
    init: true
networks: {back: {attachable: true}}
"""


def shoal(host: Host, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{host.socket}", "stack", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=patient(100),
    )


def tasks(host: Host) -> list[str]:
    return sorted(shoal(host, "ps", "-q", "app").stdout.split())


def test_a_stack_is_deployed_changed_and_removed(swarm: Host, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(APP % {"replicas": 2, "round": "1"})
    done = shoal(swarm, "deploy", "app", "--resolve-image=never", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Creating service app_web" in done.stdout
    assert [line.split() for line in shoal(swarm, "ls").stdout.splitlines()] == [["NAME", "SERVICES"], ["app", "2"]]
    listed = shoal(swarm, "services", "app").stdout
    assert "2/2" in listed
    assert listed == shoal(swarm, "services", "app", "--no-trunc").stdout or "app_web" in listed
    assert swarm.docker("stack", "services", "app", "-q").stdout.split()
    before = tasks(swarm)
    assert len(before) == 3
    for _ in range(5):
        done = shoal(swarm, "deploy", "app", "--resolve-image=never", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert tasks(swarm) == before
    unchanged = shoal(swarm, "diff", "app", "--resolve-image=never", cwd=tmp_path)
    assert (unchanged.returncode, unchanged.stdout) == (0, ""), unchanged.stderr

    assert shoal(swarm, "logs", "app").returncode == 0

    file.write_text(APP % {"replicas": 1, "round": "2"})
    changed = shoal(swarm, "diff", "app", "--resolve-image=never", cwd=tmp_path)
    assert changed.returncode == 1
    assert 'app_web: TaskTemplate.ContainerSpec.Env: ["ROUND=1"] -> ["ROUND=2"]' in changed.stdout
    assert "app_web: Mode.Replicated.Replicas: 2 -> 1" in changed.stdout
    assert shoal(swarm, "deploy", "app", "--resolve-image=never", cwd=tmp_path).returncode == 0

    file.write_text("services: {more: {image: bb:latest, command: sleep 1000, init: true}}")
    done = shoal(swarm, "deploy", "app", "--prune", "--resolve-image=never", cwd=tmp_path)
    assert "Removing service app_web" in done.stdout
    done = shoal(swarm, "rm", "app")
    assert done.returncode == 0, done.stderr
    assert not swarm.docker("network", "ls", "-q", "--filter", "label=com.docker.stack.namespace=app").stdout.split()


def test_a_deploy_that_is_rolled_back_fails_with_its_reason(swarm: Host, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    text = """
services:
  web:
    image: bb:latest
    command: %s
    init: true
    deploy: {update_config: {failure_action: rollback, monitor: 2s}, restart_policy: {condition: none}}
"""
    file.write_text(text % "sleep 1000")
    assert shoal(swarm, "deploy", "app", "--resolve-image=never", cwd=tmp_path).returncode == 0
    file.write_text(text % "'false'")
    done = shoal(swarm, "deploy", "app", "--resolve-image=never", cwd=tmp_path)
    assert done.returncode == 1
    assert "app_web: it was rolled back" in done.stderr
    assert shoal(swarm, "rm", "app").returncode == 0


def test_a_removed_stack_can_be_deployed_again_at_once(swarm: Host, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(APP % {"replicas": 1, "round": "1"})
    for _ in range(5):
        done = shoal(swarm, "deploy", "-d", "app", "--resolve-image=never", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        done = shoal(swarm, "rm", "-d", "app")
        assert done.returncode == 0, done.stderr
    eventually(lambda: shoal(swarm, "ps", "app").returncode == 1, "no tasks", show=swarm.log)
