"""How long a host that goes down waits for a container. tests/cluster/test_runtime_ending.py ends real ones."""

from pathlib import Path

from shoal.paths import Paths
from shoal.runtime import ending
from shoal.runtime.cgroups import Cgroups


def test_a_container_has_its_own_grace_within_what_systemd_allows() -> None:
    assert ending.grace(0) == 0
    assert ending.grace(10) == 10
    assert ending.grace(-1) == ending.GRACE_LIMIT  # a container that does not end
    assert ending.grace(1e9) == ending.GRACE_LIMIT
    assert ending.GRACE_LIMIT + ending.KILLED_WITHIN < 30 * 60


def test_a_host_without_containers_has_nothing_to_end(tmp_path: Path) -> None:
    cgroups = Cgroups("unit", f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    assert ending.end_all(Paths(tmp_path / "data", tmp_path / "run"), cgroups) == ending.Ended(0, 0, 0)
