"""The scripts that a person runs: what they refuse, and that they can be run again. The demo is in test_demo.py."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import REPOSITORY, run

SCRIPTS = sorted(path for path in [*(REPOSITORY / "script").iterdir(), REPOSITORY / ".ci" / "run"] if path.is_file())
IN_VENV = Path(sys.prefix) == REPOSITORY / ".venv"


@pytest.fixture
def copy() -> Iterator[Path]:
    """Return a copy of the scripts that anybody may read."""
    with tempfile.TemporaryDirectory(prefix="shoal-scripts-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(REPOSITORY / "script", folder / "script")
        yield folder


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_is_a_program_that_bash_understands(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    run("bash", "-n", str(script))


@pytest.mark.parametrize("script", ["demo", "fresh", "install"])
def test_says_that_it_needs_root(copy: Path, script: str) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = run(*nobody, f"script/{script}", check=False, cwd=copy)
    assert done.returncode == 1
    assert f"sudo script/{script}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in copy.iterdir()) == ["script"]


@pytest.mark.parametrize(
    ("script", "known"), [("bootstrap", "script/bootstrap test"), ("fresh", "trixie"), ("install", "--uninstall")]
)
def test_unknown_word_is_answered_with_the_usage(copy: Path, script: str, known: str) -> None:
    done = run(f"script/{script}", "--nonsense", check=False, cwd=copy)
    assert done.returncode == 2
    assert known in done.stderr


@pytest.mark.skipif(not IN_VENV, reason="these tests do not run from the clone's own .venv")
@pytest.mark.parametrize("what", ["test", "run"])
def test_bootstrap_asks_no_network_where_nothing_is_missing(what: str) -> None:
    done = run("unshare", "--net", "script/bootstrap", what, cwd=REPOSITORY)
    assert done.stdout + done.stderr == ""


@pytest.fixture
def units(tmp_path: Path) -> dict[str, Path]:
    """Return the unit files that script/install writes, with another program in the place of shoald."""
    text = (REPOSITORY / "script" / "install").read_text()
    found = dict(re.findall(r"cat > \$(unit|ending)\.new <<UNIT\n(.*?)\nUNIT\n", text, re.DOTALL))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "shoald").symlink_to("/bin/true")
    paths = {}
    for key, name in (("unit", "shoald.service"), ("ending", "shoald-containers.service")):
        paths[name] = tmp_path / name
        paths[name].write_text(found[key].replace("$home", str(tmp_path)) + "\n")
    return paths


def test_systemd_understands_the_units(units: dict[str, Path]) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed here; script/test-vm has it")
    done = run(program, "verify", "--man=no", *map(str, units.values()), check=False)
    ours = [line for line in done.stderr.splitlines() if "shoald" in line]
    assert ours == []


def test_containers_end_after_the_daemon_and_before_network_and_disks(units: dict[str, Path]) -> None:
    """systemd stops units in the reverse order of their start."""
    daemon, ending = (units[name].read_text().splitlines() for name in ("shoald.service", "shoald-containers.service"))
    assert "Before=shoald.service" in ending
    assert next(line for line in ending if line.startswith("After=")).split("=")[1].split()[:2] == [
        "network-online.target",
        "remote-fs.target",
    ]
    assert "RequiresMountsFor=/var/lib/shoal" in ending
    # When one unit stops or fails, nothing happens to the other.
    for text in (daemon, ending):
        assert not [line for line in text if line.startswith(("PartOf=", "BindsTo=", "Requires=", "Requisite="))]
    assert "StartLimitIntervalSec=0" in daemon
    assert "Type=notify" in daemon
