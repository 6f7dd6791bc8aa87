"""A container writes without end. Its log stays within its limit, and no reader of it is left behind."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.faults import live_cgroups
from tests.harness.hosts import Host, docker_program, eventually, host
from tests.interop.conftest import IMAGE, import_image

pytestmark = pytest.mark.root

COUNT = "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo line $i; done; exec sleep 1d"
SIZE = 50_000
# Without the driver's name the docker command does not send its options.
DRIVER = ("--log-driver", "json-file")
OPTIONS = (*DRIVER, "--log-opt", f"max-size={SIZE}")
DEFAULT = {"log-driver": "json-file", "log-opts": {"max-size": "1m", "max-file": "2"}}


@pytest.fixture(scope="module")
def swarm() -> Iterator[Host]:
    with host("logs", start=False) as made:
        (made.folder / "daemon.json").write_text(json.dumps(DEFAULT))
        made.start()
        made.docker("swarm", "init")
        import_image(made)
        yield made
        made.docker("swarm", "leave", "--force")


@pytest.fixture(autouse=True)
def clean(swarm: Host) -> Iterator[None]:
    yield
    # After a restart the API answers before the manager does.
    eventually(lambda: swarm.docker("service", "ls", check=False).returncode == 0, "the manager is up", show=swarm.log)
    names = swarm.docker("service", "ls", "-q").stdout.split()
    if names:
        swarm.docker("service", "rm", *names)
    eventually(lambda: not swarm.docker("ps", "-aq").stdout.split(), "no containers", show=swarm.log)


def create(on: Host, name: str, script: str, *flags: str) -> str:
    """Create a service of one task. Returns the id of its container."""
    on.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--stop-signal", "KILL", *flags,
        IMAGE, "sh", "-c", script,
    )  # fmt: skip
    eventually(lambda: live_cgroups(on), "it runs", show=on.log)
    return eventually(lambda: on.docker("ps", "-q", "--no-trunc").stdout.strip(), "it is listed", show=on.log)


def files(on: Host, container: str) -> dict[str, int]:
    return {
        path.name: path.stat().st_size for path in (on.data_root / "containers" / container).iterdir() if path.is_file()
    }


def log_bytes(on: Host, container: str) -> int:
    seen: dict[int, int] = {}
    for path in (on.data_root / "containers" / container).glob("output.log*"):
        try:
            found = path.stat()
        except FileNotFoundError:  # the file was renamed meanwhile
            continue
        seen[found.st_ino] = found.st_size
    return sum(seen.values())


def numbers(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines()]


def test_what_never_ends_stays_within_its_limit_by_default_of_the_daemon(swarm: Host) -> None:
    container = create(swarm, "yes", "exec yes")
    shown = json.loads(swarm.docker("inspect", container).stdout)[0]["HostConfig"]["LogConfig"]
    assert shown == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    folder = swarm.data_root / "containers" / container
    eventually(lambda: any(int(path.suffix[1:] or 0) > 6 for path in folder.glob("output.log.[0-9]*")), "many cuts")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert log_bytes(swarm, container) <= 4_000_000  # two files more: one just cut off, one just begun
        time.sleep(0.01)
    eventually(lambda: swarm.docker("logs", "--tail", "3", container).stdout == "y\n" * 3, "its end is read")
    swarm.stop()
    sizes = [0]

    def cut_by_conmon() -> bool:
        sizes.append((folder / "output.log").stat().st_size)
        assert log_bytes(swarm, container) <= 4_000_000
        return sizes[-1] < sizes[-2]

    for _ in range(3):
        eventually(cut_by_conmon, "it is cut without the daemon", every=0.001)
    swarm.start()
    eventually(lambda: swarm.docker("logs", "--tail", "3", container, check=False).stdout == "y\n" * 3, "it reads on")


def test_every_line_is_read_once_across_cuts(swarm: Host, tmp_path: Path) -> None:
    lines = 20_000
    slow = COUNT.format(lines).replace("done", "[ $((i % 400)) = 0 ] && sleep 0.03; done")
    options = (*OPTIONS, "--log-opt", "max-file=100")
    container = create(swarm, "count", slow, *options)
    with (tmp_path / "out").open("wb") as out:
        follower = subprocess.Popen(
            [docker_program(), "-H", f"unix://{swarm.socket}", "service", "logs", "-f", "--raw", "count"], stdout=out
        )
    try:
        eventually(lambda: f"line {lines}\n" in (tmp_path / "out").read_text(), "the follower has heard all")
    finally:
        follower.kill()
        follower.wait()
    assert numbers((tmp_path / "out").read_text()) == list(range(1, lines + 1))
    assert len(files(swarm, container)) > 15
    assert numbers(swarm.docker("logs", container).stdout) == list(range(1, lines + 1))
    for tail in (1, 700, 5000):
        assert numbers(swarm.docker("logs", "--tail", str(tail), container).stdout) == list(
            range(lines - tail + 1, lines + 1)
        )
    shown = json.loads(swarm.docker("inspect", container).stdout)[0]["HostConfig"]["LogConfig"]["Config"]
    assert shown == {"max-size": str(SIZE), "max-file": "100"}


def test_a_log_without_older_files_keeps_the_newest(swarm: Host) -> None:
    container = create(
        swarm, "one", COUNT.format(5000), *OPTIONS, "--log-opt", "max-file=1"
    )  # fmt: skip
    eventually(lambda: "line 5000\n" in swarm.docker("logs", container).stdout, "it has ended")
    seen = numbers(swarm.docker("logs", container).stdout)
    assert seen == list(range(seen[0], 5001))
    assert seen[0] > 1000
    assert log_bytes(swarm, container) <= SIZE


def test_options_that_cannot_be_are_refused(swarm: Host) -> None:
    refused = swarm.docker(
        "service", "create", "-d", "--no-resolve-image", *DRIVER, "--log-opt", "max-sise=1m", IMAGE, check=False
    )
    assert "max-sise" in refused.stderr
    swarm.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "bad", *DRIVER, "--log-opt", "max-size=much",
        "--restart-condition", "none", IMAGE, "true",
    )  # fmt: skip
    eventually(
        lambda: "invalid size: 'much'" in swarm.docker("service", "ps", "--no-trunc", "bad").stdout,
        "the node says so",
        show=lambda: swarm.docker("service", "ps", "--no-trunc", "bad").stdout,
    )
