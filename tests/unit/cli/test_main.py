import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shoal import __version__
from shoal.cli.main import run


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        run(list(arguments))
    assert end.value.code in (0, None)
    return capsys.readouterr().out


def test_help_says_what_there_is_and_that_the_file_is_a_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A malformed name of a daemon does no harm here.
    monkeypatch.setenv("DOCKER_HOST", "nonsense://")
    assert "swarm" in told(capsys, "--help")
    shown = told(capsys, "swarm", "--help")
    assert "backup" in shown
    assert "restore" in shown
    assert "FILE is a secret" in told(capsys, "swarm", "backup", "--help")
    assert "--advertise-addr" in told(capsys, "swarm", "restore", "--help")
    assert told(capsys, "--version") == f"shoal version {__version__}\n"


def test_a_failure_is_one_line_and_exit_code_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        run(["-H", "nonsense://", "swarm", "backup", str(tmp_path / "file")])
    assert end.value.code == 1
    text = "shoal: nonsense:// is no daemon's address: give unix:///path or tcp://address:port\n"
    assert capsys.readouterr() == ("", text)


@pytest.mark.slow
def test_sigterm_cleans_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        command = [sys.executable, "-m", "shoal.cli.main", "-H", f"unix://{tmp_path}/s", "swarm", "backup"]
        with subprocess.Popen([*command, str(tmp_path / "file")], stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            assert [path.name for path in tmp_path.glob(".file.*")]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
            connection.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
