"""Which profile is used, with the kernel's list in a folder and a parser that behaves like the real one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.runtime import apparmor
from shoal.runtime.apparmor import NAME, PROFILE, UNCONFINED, Confinement


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the kernel's list of profiles. Programs are found in `bin` beside it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr("shoal.host.programs._FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    path = tmp_path / "profiles"
    path.write_text("docker-default (enforce)\n/usr/bin/man (enforce)\n")
    return path


def parser(kernel: Path, script: str) -> None:
    program = kernel.parent / "bin" / "apparmor_parser"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_profile_is_loaded_where_the_kernel_has_apparmor(kernel: Path) -> None:
    parser(kernel, f'/bin/cat > "{kernel}.given"; echo "{NAME} (enforce)" >> "{kernel}"')
    assert apparmor.load(kernel) == Confinement(NAME)
    assert Path(f"{kernel}.given").read_text() == PROFILE


def test_host_without_apparmor_confines_nothing_and_says_nothing(kernel: Path) -> None:
    assert apparmor.load(kernel.with_name("no such file")) == Confinement()
    assert apparmor.load(kernel) == Confinement()  # no parser: as with Docker
    assert Confinement().of("default") == ""
    assert Confinement().of("disabled") == ""
    assert apparmor.held(Confinement(), "default", kernel) == ""


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("/bin/cat > /dev/null; echo 'Permission denied; attempted to load a profile' >&2; exit 243", "Permission"),
        ("exit 1", "ended with 1"),
        ("/bin/cat > /dev/null", "the kernel does not have it"),
    ],
)
def test_profile_that_could_not_be_loaded_refuses_containers(kernel: Path, script: str, why: str) -> None:
    parser(kernel, script)
    found = apparmor.load(kernel)
    assert found.profile == ""
    assert why in found.failure
    with pytest.raises(ShoalError, match="AppArmor enabled on system but the shoal-default profile could not be"):
        found.of("default")
    assert found.of("disabled") == UNCONFINED


def test_profile_that_the_kernel_lost_is_loaded_again(kernel: Path) -> None:
    parser(kernel, f'/bin/cat >> "{kernel}.given"; echo "{NAME} (enforce)" >> "{kernel}"')
    found = apparmor.load(kernel)
    assert apparmor.held(found, "default", kernel) == NAME
    assert Path(f"{kernel}.given").read_text() == PROFILE  # only once, because it was there
    kernel.write_text("docker-default (enforce)\n")
    assert apparmor.held(found, "disabled", kernel) == UNCONFINED
    assert NAME not in kernel.read_text()
    assert apparmor.held(found, "default", kernel) == NAME
    assert NAME in kernel.read_text()


def test_container_does_not_start_without_a_profile_that_was_lost(kernel: Path) -> None:
    kernel.write_text("")
    with pytest.raises(ShoalError, match="could not be loaded: apparmor_parser is missing by now"):
        apparmor.held(Confinement(NAME), "default", kernel)
    kernel.unlink()
    with pytest.raises(ShoalError, match="or the kernel's list of profiles"):
        apparmor.held(Confinement(NAME), "default", kernel)


def test_profile_that_could_not_be_loaded_is_tried_again(kernel: Path) -> None:
    parser(kernel, f'/bin/cat > /dev/null; echo "{NAME} (enforce)" >> "{kernel}"')
    assert apparmor.held(Confinement(failure="killed"), "default", kernel) == NAME


def test_only_enforced_profiles_hold() -> None:
    text = "docker-default (enforce)\nshoal-default (complain)\n/usr/lib/x y (enforce)\nlsb_release\n\n"
    assert apparmor.loaded(text) == {"docker-default", "/usr/lib/x y"}


def test_container_may_ask_for_none() -> None:
    assert Confinement(NAME).of("default") == NAME
    assert Confinement(NAME).of("disabled") == UNCONFINED


def denied(path: str, access: str = "w") -> bool:
    """Return whether a rule of the profile refuses `access` to a path. The patterns are matched as regular
    expressions.
    """
    for pattern, accesses in re.findall(r"^  deny (/\S+) (\w+),$", PROFILE, re.MULTILINE):
        expression = re.sub(r"\*\*|\*|\?|\{|\}|,|\.", lambda sign: _SIGNS[sign[0]], pattern)
        if access in accesses and re.fullmatch(expression, path):
            return True
    return False


_SIGNS = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|", ".": r"\."}


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sysrq-trigger", "/proc/kcore", "/proc/timer_list", "/proc/mtrr", "/proc/acpi/wakeup", "/proc/bus/pci/0",
        "/proc/irq/1/smp_affinity", "/proc/fs/ext4/x", "/proc/scsi/scsi", "/proc/sysvipc/shm", "/proc/tty/drivers",
        "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/panic_on_oom", "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq",
        "/proc/sys/kernel/hostname", "/proc/sys/kernel/sem", "/proc/sys/kernel/keys/maxkeys",
        "/proc/sys/kernel/random/uuid", "/proc/sys/kernel/sg",
        "/sys/kernel/uevent_helper/x", "/sys/power/state", "/sys/devices/x/y", "/sys/fs/bpf/x", "/sys/fs/ext4/sda/y",
        "/sys/firmware/efi/vars", "/sys/module/kernel/parameters/x", "/sys/kernel/security/apparmor/.replace",
    ],
)  # fmt: skip
def test_what_may_not_be_written(path: str) -> None:
    assert denied(path)


@pytest.mark.parametrize(
    "path",
    [
        "/proc/1/attr/exec", "/proc/12/oom_score_adj", "/proc/7/task/7/comm", "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/shm_rmid_forced", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/a/cgroup.procs", "/etc/passwd",
        "/proc/99/net/x", "/dev/null", "/tmp/proc/sys/x",
    ],
)  # fmt: skip
def test_what_may_be_written(path: str) -> None:
    assert not denied(path)


def test_what_may_not_even_be_read() -> None:
    for path in ("/proc/kcore", "/proc/sysrq-trigger", "/sys/firmware/dmi/x", "/sys/devices/virtual/powercap/intel/x"):
        assert denied(path, "r")
    for path in ("/proc/cpuinfo", "/proc/sys/kernel/core_pattern", "/sys/class/net/x"):
        assert not denied(path, "r")


def test_parser_of_apparmor_takes_the_profile() -> None:
    program = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("apparmor_parser is not installed here; script/test-vm loads the profile into a kernel")
    done = subprocess.run(
        [program, "--skip-kernel-load", "--skip-cache", "--preprocess"], input=PROFILE, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
