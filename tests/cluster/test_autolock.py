"""A manager whose key needs an unlock key after each start."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.swarms import containers, create, wait_running
from tests.harness.hosts import Host, eventually
from tests.harness.network import network
from tests.interop.conftest import import_image

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def manager() -> Iterator[Host]:
    with network("lock") as net:
        made = net.add("m")
        import_image(made)
        yield made


def unlock(host: Host, key: str) -> str:
    return host.docker("swarm", "unlock", input=key + "\n", check=False).stderr


def key_file(host: Host) -> str:
    return (host.data_root / "swarm" / "certificates" / "swarm-node.key").read_text()


def restart(host: Host) -> None:
    host.stop()
    host.start()


def local_state(host: Host) -> str:
    return host.docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip()


def test_locked_manager_waits_for_its_key(manager: Host) -> None:
    shown = manager.docker("swarm", "init", "--autolock").stdout
    key = manager.docker("swarm", "unlock-key", "-q").stdout.strip()
    assert key.startswith("SWMKEY-1-")
    assert key in shown
    assert "ENCRYPTED PRIVATE KEY" in key_file(manager)
    create(manager, "web", 2)
    wait_running(manager, "web", {"m": 2})
    restart(manager)
    assert local_state(manager) == "locked"
    assert containers(manager) == 2
    text = 'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock"'
    assert text in manager.docker("node", "ls", check=False).stderr
    assert text in manager.docker("swarm", "unlock-key", check=False).stderr
    refused = manager.docker("swarm", "leave", check=False).stderr
    assert "Swarm is encrypted and locked. Please unlock it first or use `--force`" in refused
    wrong = "SWMKEY-1-" + "A" * 43
    assert "swarm could not be unlocked: invalid key provided" in unlock(manager, wrong)
    assert "invalid key string" in unlock(manager, "nonsense")
    for key_text, status, message in (
        ("SWMKEY-1-AAAA", "401", "swarm could not be unlocked: invalid key provided"),
        ("SWMKEY-1-!", "400", "invalid key string"),
        ("", "400", "invalid key string"),
    ):
        body = json.dumps({"UnlockKey": key_text})
        asked = ("-X", "POST", "-H", "Content-Type: application/json", "-d", body, "-w", " %{http_code}")
        answer, _, seen = manager.curl("/swarm/unlock", *asked).rpartition(" ")
        assert (seen, json.loads(answer)["message"]) == (status, message)
    assert unlock(manager, key) == ""
    assert local_state(manager) == "active"
    wait_running(manager, "web", {"m": 2})
    assert "swarm is not locked" in manager.docker("swarm", "unlock", check=False).stderr


def test_rotated_unlock_key_is_the_one_that_opens(manager: Host) -> None:
    old = manager.docker("swarm", "unlock-key", "-q").stdout.strip()
    before = key_file(manager)
    new = manager.docker("swarm", "unlock-key", "--rotate", "-q").stdout.strip()
    assert new != old
    eventually(lambda: key_file(manager) != before, "its file is sealed by the new key")
    restart(manager)
    assert "invalid key provided" in unlock(manager, old)
    assert unlock(manager, new) == ""
    wait_running(manager, "web", {"m": 2})


def test_autolock_goes_off_and_on(manager: Host) -> None:
    manager.docker("swarm", "update", "--autolock=false")
    eventually(lambda: "ENCRYPTED" not in key_file(manager), "its file is open")
    assert "no unlock key is set" in manager.docker("swarm", "unlock-key", check=False).stderr
    restart(manager)
    eventually(lambda: local_state(manager) == "active", "it is up without a key")
    certificate = manager.data_root / "swarm" / "certificates" / "swarm-node.crt"
    before = certificate.read_bytes()
    shown = manager.docker("swarm", "update", "--autolock=true").stdout
    assert "SWMKEY-1-" in shown
    eventually(lambda: "ENCRYPTED PRIVATE KEY" in key_file(manager), "its file is sealed")
    eventually(lambda: certificate.read_bytes() != before, "the key that lay there open is not used any more")
    assert "ENCRYPTED PRIVATE KEY" in key_file(manager)


def test_locked_manager_leaves_by_force(manager: Host) -> None:
    """Known fault 74."""
    restart(manager)
    assert local_state(manager) == "locked"
    manager.docker("swarm", "leave", "--force")
    assert local_state(manager) == "inactive"
    assert containers(manager) == 0
