"""One machine in qemu, completely emulated (TCG), so that it runs wherever qemu does. Its only way in is ssh over
loopback, and it has no way out.
"""

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

# What takes a second on a machine at rest takes half a minute under emulation on a busy machine.
PATIENCE = float(os.environ.get("SHOAL_VM_PATIENCE", "600"))
# The settings that replace a network: all that is installed comes from the machine's own disk.
OFFLINE = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/root/wheels PIP_DISABLE_PIP_VERSION_CHECK=1\n"
SOCKET = "/run/shoal/shoal.sock"


class Failed(AssertionError):
    """A command inside failed, or a condition did not become true."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ran inside."""

    code: int
    output: str  # both of its streams, in order


def eventually(look: Callable[[], T], what: str, patience: float = PATIENCE, every: float = 1.0) -> T:
    """Return what `look` returns, once that is true. Raises Failed with the last result after `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"not within {patience:.0f} s: {what}; last seen: {seen!r}")
        time.sleep(every)


class Machine:
    """The machine of a folder that script/test-vm filled: disk.img, vmlinuz, initrd.img, key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def console(self) -> Path:
        """Return the output of its kernel and of systemd on the serial line."""
        return self._folder / "console.log"

    def boot(self) -> None:
        """Switch it on. Returns when ssh works."""
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "4096",
            "-display", "none", "-no-user-config", "-nodefaults",
            "-kernel", str(self._folder / "vmlinuz"), "-initrd", str(self._folder / "initrd.img"),
            "-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 udev.event_timeout=900",
            "-drive", f"file={self._folder / 'disk.img'},if=virtio,format=raw,cache=unsafe",
            "-serial", f"file:{self.console}", "-device", "virtio-rng-pci",
            "-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22",
            "-device", "virtio-net-pci,netdev=n0",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.wait_up()

    def wait_up(self, patience: float = 2 * PATIENCE) -> None:
        """Wait until somebody can log in."""
        eventually(self._lets_in, "the machine lets us in", patience)

    def _lets_in(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise Failed("the machine is off")
        return self.run("true", check=False, patience=60).code == 0

    def run(self, script: str, *, check: bool = True, patience: float = PATIENCE) -> Done:
        """Run lines of bash inside, as root. Raises Failed with their output if they end with a code other than 0."""
        given = f"{OFFLINE}export DOCKER_HOST=unix://{SOCKET}\n{script}\n".encode()
        command = self._ssh("bash -s 2>&1", patience)
        try:
            done = subprocess.run(command, input=given, capture_output=True, timeout=patience, check=False)
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            if check:
                raise Failed(f"not within {patience:.0f} s: {script}\n{said[-4000:]}") from None
            return Done(255, said)
        output = done.stdout.decode(errors="replace")
        if check and done.returncode:
            raise Failed(f"ended with {done.returncode}: {script}\n{output[-6000:]}")
        return Done(done.returncode, output)

    def _ssh(self, command: str, patience: float) -> list[str]:
        return [
            "ssh", "-q", "-i", str(self._folder / "key"), "-p", str(self._port),
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
            "-o", f"ConnectTimeout={min(patience, 120):.0f}", "-o", "ServerAliveInterval=30",
            "root@127.0.0.1", command,
        ]  # fmt: skip

    def ask(self, script: str, *, patience: float = PATIENCE) -> str:
        """Return the output of lines of bash, without the last newline."""
        return self.run(script, patience=patience).output.rstrip("\n")

    def write(self, path: str, text: str) -> None:
        """Make a file inside."""
        self.run(f"printf %s {shlex.quote(text)} > {path}")

    def renew(self) -> None:
        """Update its clone to what is committed here. What was installed from the clone stays as it was."""
        bundle = subprocess.run(["git", "bundle", "create", "-q", "-", "HEAD"], capture_output=True, check=True).stdout
        path = "/root/shoal.bundle"
        subprocess.run(self._ssh(f"cat > {path}", PATIENCE), input=bundle, timeout=PATIENCE, check=True)
        self.run(f"cd /root/shoal && git fetch -q {path} HEAD && git checkout -qf --detach FETCH_HEAD")

    def close(self) -> None:
        """Switch it off at once. Its disk is kept, and `--again` goes on with it."""
        if self._process is not None and self._process.poll() is None:
            self.run("sync", check=False, patience=120)
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
