"""What a host must have so that containers can be confined."""

import pytest

from shoal.errors import FailedPrecondition
from shoal.host import linux
from shoal.runtime import host

NO_CALL = 9999
"""No kernel has a call of this number."""


def test_a_kernel_without_openat2_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "_SYS_OPENAT2", NO_CALL)
    assert not linux.can_open_in_root()
    with pytest.raises(FailedPrecondition, match="the system call openat2 is missing") as told:
        host.look()
    assert "\n" not in str(told.value)
