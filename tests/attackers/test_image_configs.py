"""Images with a wrong configuration are refused when they are loaded or pulled. Those that are on the host already make
no list fail.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bad_registry import ARCHITECTURE, BadRegistry, bad_registry
from tests.harness.hosts import Host, eventually, host, run
from tests.interop.conftest import IMAGE, import_image
from tests.unit.runtime.tars import files

pytestmark = pytest.mark.root

WRONG: dict[str, Any] = {
    "labels": {"config": {"Labels": ["a"]}},
    "entrypoint": {"config": {"Entrypoint": {"sh": 1}}},
    "env": {"config": {"Env": {"A": "b"}}},
    "volumes": {"config": {"Volumes": ["/v"]}},
    "health": {"config": {"Healthcheck": [1]}},
    "interval": {"config": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": "1s"}}},
    "signal": {"config": {"StopSignal": 9}},
    "config": {"config": ["a"]},
    "created": {"created": {"at": 1}},
    "history": {"history": [{"created": 1, "created_by": ["x"]}]},
    "os": {"os": {"linux": 1}},
    "rootfs": {"rootfs": ["a"]},
    "diff_ids": {"rootfs": {"type": "layers", "diff_ids": {"a": 1}}},
}

LISTS = ("/images/json?all=1", "/containers/json?all=1", "/system/df", "/services", "/tasks", "/info")


@pytest.fixture(scope="module")
def swarm() -> Iterator[Host]:
    with host("configs", namespace=False) as made:
        made.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:24772")
        import_image(made)
        yield made
        made.docker("swarm", "leave", "--force")


@pytest.fixture(scope="module")
def registry() -> Iterator[BadRegistry]:
    with bad_registry() as made:
        yield made


def all_answer(on: Host) -> None:
    for path in LISTS:
        status = run(
            "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(on.socket), f"http://d{path}"
        ).stdout
        assert status == "200", path


def whats_here(on: Host) -> tuple[list[str], list[str], list[str]]:
    root = on.data_root / "images"
    return tuple(sorted(path.name for path in (root / part).iterdir()) for part in ("records", "layers", "staging"))  # type: ignore[return-value]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_config_is_refused_and_leaves_nothing(
    swarm: Host, registry: BadRegistry, name: str, tmp_path: Path
) -> None:
    before = whats_here(swarm)
    layer = files(a=name.encode())
    registry.put(name, layer, WRONG[name])
    pulled = swarm.docker("pull", f"{registry.address}/{name}:1", check=False)
    assert pulled.returncode
    assert "json: " in pulled.stderr or "JSON" in pulled.stderr or "digests" in pulled.stderr, pulled.stderr
    config = {"architecture": ARCHITECTURE, "os": "linux"} | WRONG[name]
    config.setdefault("rootfs", {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]})
    listed = [{"Config": "c", "RepoTags": [f"{name}:1"], "Layers": ["l"]}]
    archive = tmp_path / "archive"
    archive.write_bytes(
        files(**{"c": json.dumps(config).encode(), "l": layer, "manifest.json": json.dumps(listed).encode()})
    )
    loaded = swarm.docker("load", "-i", str(archive), check=False)
    assert loaded.returncode
    assert "Internal" not in loaded.stderr
    assert whats_here(swarm) == before
    all_answer(swarm)


@pytest.mark.parametrize(
    "manifest",
    [
        {"layers": {"a": 1}},
        {"layers": [{"digest": ["x"], "size": 1}]},
        {"layers": [{"digest": "sha256:" + "a" * 64, "size": 1 << 70}]},
        {"config": ["x"]},
        {"config": {"digest": "sha256:../../x", "size": 1}},
        {"mediaType": {"x": 1}},
        {"manifests": "abc", "mediaType": "application/vnd.oci.image.index.v1+json"},
        {"manifests": [{"platform": ["linux"]}], "mediaType": "application/vnd.oci.image.index.v1+json"},
    ],
)
def test_a_wrong_manifest_is_refused_and_leaves_nothing(
    swarm: Host, registry: BadRegistry, manifest: dict[str, Any]
) -> None:
    before = whats_here(swarm)
    registry.put("manifest", files(a=b"m"), manifest=manifest)
    pulled = swarm.docker("pull", f"{registry.address}/manifest:1", check=False)
    assert pulled.returncode
    assert "nternal" not in pulled.stderr
    assert whats_here(swarm) == before
    all_answer(swarm)


def test_what_is_here_already_is_shown_as_well_as_can_be(swarm: Host) -> None:
    (image_id,) = swarm.docker("images", "-q", "--no-trunc", IMAGE).stdout.split()
    record = json.loads((swarm.data_root / "images/records" / f"{image_id.removeprefix('sha256:')}.json").read_bytes())
    swarm.stop()
    names = {}
    for number, (name, wrong) in enumerate((name, wrong) for name, wrong in WRONG.items() if "rootfs" not in wrong):
        config = json.loads(record["config"])
        config["config"] = {"Cmd": ["sleep", "1d"]}
        config |= wrong
        text = json.dumps(config)
        made = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        names[name] = f"docker.io/library/bad-{name}:1"
        fields = {**record, "id": made, "config": text, "names": {names[name]: 1000 + number}}
        (swarm.data_root / "images/records" / f"{made.removeprefix('sha256:')}.json").write_text(json.dumps(fields))
    swarm.start()
    eventually(lambda: "active" in swarm.docker("info", "-f", "{{.Swarm.LocalNodeState}}").stdout, "the swarm is back")
    all_answer(swarm)
    for name in names:
        swarm.docker("image", "inspect", f"bad-{name}:1")
        swarm.docker("history", f"bad-{name}:1")
        swarm.docker(
            "service", "create", "-d", "--no-resolve-image", "--name", name, "--restart-condition", "none",
            "--stop-signal", "KILL", f"bad-{name}:1", "sleep", "1d",
        )  # fmt: skip
    eventually(lambda: len(swarm.docker("ps", "-q").stdout.split()) == len(names), "each runs", show=lambda: why(swarm))
    all_answer(swarm)
    for container in swarm.docker("ps", "-q").stdout.split():
        swarm.docker("inspect", container)
    swarm.docker("service", "rm", *names)
    eventually(lambda: not swarm.docker("ps", "-aq").stdout.split(), "no containers", show=swarm.log)
    assert "Traceback" not in swarm.log()


def why(on: Host) -> str:
    return on.docker("ps", "-a").stdout + on.log()
