"""`shoal stack deploy` sends to the Engine API what Docker's `stack deploy` sends, field by field."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal.cli.stack_plan import DIGEST, KEY
from tests.harness.compose_oracle import has_stack_config
from tests.harness.hosts import docker_program
from tests.harness.recorder import Recorder, recorder

FILES = sorted((Path(__file__).parent / "stacks").glob("*.yaml"))
OUTSIDE = {"public", "really-outside", "outside-config"}
ENVIRONMENT = {**os.environ, "FROM_OUTSIDE": "outside"}


def sent(folder: Path, *command: str) -> Recorder:
    """Return what a client sends to deploy a stack."""
    with recorder(folder) as (url, found):
        found.external = OUTSIDE
        done = subprocess.run(
            [*command[:-1], "-H", url, "stack", "deploy", "--detach=true", "-c", command[-1], "st"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return found


def pruned(value: Any) -> Any:
    """Return a value without what says nothing: fields that are empty, false or 0."""
    if isinstance(value, dict):
        found = {key: pruned(each) for key, each in value.items() if key not in (KEY, DIGEST)}
        return {
            key: each for key, each in found.items() if each not in (None, "", 0, False, [], {}) or key == "Replicas"
        }
    return [pruned(each) for each in value] if isinstance(value, list) else value


@pytest.mark.skipif(not has_stack_config(), reason="this machine's docker is older than --detach")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_both_clients_send_the_same(file: Path, tmp_path: Path) -> None:
    dockers = sent(tmp_path, docker_program(), str(file))
    ours = sent(tmp_path, sys.executable, "-m", "shoal.cli.main", str(file))
    assert dockers.made["services"]
    for kind, objects in dockers.made.items():
        assert set(ours.made[kind]) == set(objects)
        for name, body in objects.items():
            assert pruned(ours.made[kind][name]) == pruned(body), f"{kind} {name}"
