"""What is left of a daemon whose data root was deleted while its containers ran."""

import shutil
import signal
import subprocess

import pytest

from tests.cluster.faults import live_cgroups
from tests.cluster.swarms import IMAGE
from tests.harness.hosts import Host, eventually, host, run
from tests.interop.conftest import import_image

pytestmark = pytest.mark.root


def bridges(on: Host) -> list[str]:
    lines = run(*on.inside("ip", "-o", "link", "show", "type", "bridge")).stdout.splitlines()
    return [line.split(": ")[1] for line in lines]


def test_a_bridge_that_nobody_owns_is_named_with_the_command_that_removes_it() -> None:
    with host("first") as first:
        first.docker("swarm", "init")
        import_image(first)
        first.docker("service", "create", "-d", "--no-resolve-image", IMAGE, "sleep", "1d")
        eventually(lambda: live_cgroups(first), "it runs", show=first.log)
        left = f"shoal{first.tag()}"
        second = Host("second", namespace=False)
        second.namespace, second.address = first.namespace, first.address
        try:
            second.start()  # another daemon lives
            second.stop()
            first.stop(signal.SIGKILL)
            second.start()  # and another one is stopped
            second.stop()
            assert "is left of a shoald" not in second.log()
            shutil.rmtree(first.data_root, ignore_errors=True)
            second.start()
            (line,) = [line for line in second.log().splitlines() if "is left of a shoald" in line]
            assert f"the bridge {left} is left of a shoald whose data root {first.data_root} is gone (1 of" in line
            assert left in bridges(second)
            subprocess.run(second.inside("sh", "-c", line.partition("Remove it by: ")[2]), check=True)
            assert left not in bridges(second)
            second.stop()
        finally:
            second.namespace = ""  # only the first daemon may remove it
            second.close()
