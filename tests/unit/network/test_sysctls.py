"""Settings of the kernel."""

from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.network import sysctls
from shoal.network.sysctls import set_sysctl


def test_a_value_that_is_there_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysctls, "_FOLDER", tmp_path)
    setting = tmp_path / "ip_forward"
    setting.write_text("0\n")
    set_sysctl("ip_forward", "1")
    assert setting.read_text() == "1"
    before = setting.stat().st_mtime_ns
    set_sysctl("ip_forward", "1")
    assert setting.stat().st_mtime_ns == before


def test_a_value_of_the_kernel_that_is_not_there_is_named() -> None:
    with pytest.raises(ShoalError, match="cannot set /proc/sys/net/ipv4/none to 1: No such file"):
        set_sysctl("ipv4/none", "1")
