"""Docker's compose program as the judge of how a compose file is read, and what of its answer counts.

`script/oracle` fetches the program. Each file, or folder with `compose*.yaml`, below tests/interop/compose is a case.
"""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.harness.hosts import docker_program

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / ".venv" / "oracle" / "docker-compose"
CASES = REPOSITORY / "tests" / "interop" / "compose"
HOME = "/home/somebody"
ENVIRONMENT = {
    "HOME": HOME,
    "FROM_OUTSIDE": "outside",
    "EMPTY_OUTSIDE": "",
    "THREE": "3",
    "PORT_OUTSIDE": "8088",
}
_AUTHORS_KEYS = {"environment", "labels", "args"}
_SOURCES = {"secrets": "source", "configs": "source"}


def cases() -> list[Path]:
    return sorted(CASES.iterdir())


def files_of(case: Path) -> list[str]:
    """Return the compose files of a case, the first one first."""
    if case.is_file():
        return [str(case)]
    return [str(path) for path in sorted(case.glob("compose*.yaml"), key=lambda path: len(path.name) * 100)]


def asked(files: Sequence[str]) -> dict[str, Any] | str:
    """Return what the program makes of files, or its refusal."""
    flags = [word for file in files for word in ("-f", file)]
    done = subprocess.run(
        [PROGRAM, *flags, "config", "--format", "json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        return done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def asked_together(of: Sequence[Path]) -> dict[Path, dict[str, Any] | str]:
    """Return the answer for each case. Several programs run at once, because each waits more than it computes."""
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(of, pool.map(lambda case: asked(files_of(case)), of), strict=True))


def has_stack_config() -> bool:
    """Return whether this machine's `docker` has `stack config`, and waits for a stack if it is told to."""
    done = subprocess.run([docker_program(), "stack", "deploy", "--help"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "--detach" in done.stdout


def asked_of_stack(of: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Return what `docker stack config` makes of each case; an empty answer is a refusal."""

    def ask(case: Path) -> dict[str, Any]:
        flags = [word for file in files_of(case) for word in ("-c", file)]
        command = [docker_program(), "stack", "config", *flags]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        return yaml.safe_load(done.stdout) if done.returncode == 0 else {}

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(of, pool.map(ask, of), strict=True))


def for_stack(service: dict[str, Any]) -> dict[str, Any]:
    """Return of a service what `docker stack config` says as `docker compose config` does."""
    same = ("image", "command", "entrypoint", "environment", "labels", "user", "hostname", "stop_grace_period")
    found = {key: service[key] for key in (*same, "healthcheck", "configs") if service.get(key)}
    deploy = service.get("deploy") or {}
    found["deploy"] = {
        key: deploy[key]
        for key in ("replicas", "labels", "placement", "restart_policy", "update_config", "mode")
        if deploy.get(key) is not None
    }
    found["ports"] = [
        (each.get("mode"), each["target"], str(each.get("published", "")), each.get("protocol", "tcp"))
        for each in service.get("ports", ())
    ]
    found["volumes"] = [
        (each["type"], each.get("source"), each["target"], each.get("read_only")) for each in service.get("volumes", ())
    ]
    found["secrets"] = [
        (each["source"], each.get("target") or f"/run/secrets/{each['source']}") for each in service.get("secrets", ())
    ]
    networks = service.get("networks") or {"default": None}
    return found | {"networks": {name: (each or {}).get("aliases") for name, each in networks.items()}}


def without_escapes(value: Any) -> Any:
    """Return a value as it was meant: the program writes every dollar twice."""
    if isinstance(value, dict):
        return {key: without_escapes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_escapes(each) for each in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def comparable(model: dict[str, Any]) -> dict[str, Any]:
    """Return of a model what both programs say.

    Docker's leaves out what no service uses, and extensions below the top; it writes some empty values and not others,
    keys of `blkio_config` in capitals, and `extra_hosts` in another order.
    """
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set(), "configs": set()}
    for service in model["services"].values():
        used["networks"] |= set(service.get("networks") or ())
        used["volumes"] |= {each.get("source") for each in service.get("volumes", ()) if each["type"] == "volume"}
        for section, key in _SOURCES.items():
            used[section] |= {each[key] for each in service.get(section, ())}
    kept = {section: {k: v for k, v in model.get(section, {}).items() if k in names} for section, names in used.items()}
    found = {key: _tidy(key, each) for key, each in {**model, **kept}.items() if not key.startswith("x-")}
    extensions = {key: each for key, each in model.items() if key.startswith("x-")}
    return {key: each for key, each in found.items() if each != {}} | extensions


def _tidy(key: str, value: Any) -> Any:
    if isinstance(value, list):
        values = [_tidy("", each) for each in value]
        return sorted(values) if key == "extra_hosts" else values
    if not isinstance(value, dict):
        return value
    found = {}
    for name, each in value.items():
        if key not in _AUTHORS_KEYS and (name.startswith("x-") or (name == "max_failure_ratio" and each == 0)):
            continue
        each = _tidy(name, each)
        if key in _AUTHORS_KEYS or not _is_empty(name, each):
            found[name.lower() if name in ("Path", "Rate", "Weight") else name] = each
    return found


def _is_empty(name: str, value: Any) -> bool:
    said_by_absence = {"ipam", "placement", "volume", "deploy", "resources", "healthcheck", "reservations", "limits"}
    return value is None or value is False or value in ("", []) or (value == {} and name in said_by_absence)
