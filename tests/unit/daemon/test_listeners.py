"""The API's sockets."""

import os
import stat
from pathlib import Path

import pytest

from shoal.daemon import listeners
from shoal.errors import ShoalError


def test_unix_socket_lets_in_owner_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "s"
    with listeners.unix_socket(path, "nosuchgroup"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_uid == os.getuid()


def test_socket_of_a_dead_daemon_is_taken_over(tmp_path: Path) -> None:
    listeners.unix_socket(tmp_path / "s", "").close()
    listeners.unix_socket(tmp_path / "s", "").close()


def test_socket_of_a_living_daemon_is_not(tmp_path: Path) -> None:
    with listeners.unix_socket(tmp_path / "s", ""), pytest.raises(ShoalError, match="another daemon does"):
        listeners.unix_socket(tmp_path / "s", "")


def test_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ShoalError, match="no socket is in the way"):
        listeners.unix_socket(tmp_path / "s", "")
    assert (tmp_path / "s").read_text() == "precious"


def test_tcp_port_that_is_taken_is_named() -> None:
    with listeners.tcp_socket("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(ShoalError, match=f"cannot listen on tcp://127.0.0.1:{port}"):
            listeners.tcp_socket(f"127.0.0.1:{port}")
