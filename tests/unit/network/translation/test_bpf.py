"""What is said where the kernel takes no program; cluster/test_host_ports6 has one taken."""

import platform

import pytest

from shoal.errors import ShoalError
from shoal.network.translation import bpf


def test_a_bad_program_is_refused_and_why_is_said() -> None:
    with pytest.raises(ShoalError, match="the kernel does not take a program of BPF: "):
        bpf.load(bytes(16), "x")


def test_an_unknown_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(ShoalError, match="programs of BPF are not known on pdp11"):
        bpf.load(bytes(8), "x")
