"""nft as a program: what it refuses, and one that does not end."""

from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.network import nft_program


def test_what_nft_refuses_is_said_in_its_words() -> None:
    with pytest.raises(ShoalError, match=r"(?s)nft refused the rules of br0: .*syntax error"):
        nft_program.write("add nothing at all", "br0")


def test_there_is_no_listing_of_what_is_not_there() -> None:
    assert nft_program.listing("ip", "shoal_none") == ""


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nft"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(nft_program, "TIMEOUT", 0.05)


@pytest.mark.usefixtures("stuck")
def test_one_that_does_not_end_is_an_error_of_ours_and_is_ended() -> None:
    """Whoever mends rules goes on after a ShoalError; anything else would end the daemon."""
    with pytest.raises(ShoalError, match="nft does not end"):
        nft_program.write("", "br0")
    with pytest.raises(ShoalError, match="nft does not end"):
        nft_program.listing("ip", "shoal_none")
