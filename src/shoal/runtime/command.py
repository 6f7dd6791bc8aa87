"""Runs a command in a running container: decides its user and settings, and starts the child process.

The child is the OCI runtime's own `exec` in the foreground, so exit code and stdio are those of the command. It has no
conmon, because nobody reads its output once this daemon has ended. In: a Container, an argv. Out: children.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.json_text import read_json
from shoal.runtime import apparmor, bundle, capabilities, conmon, failures, oci_spec, process, processes
from shoal.runtime.bundle import Site
from shoal.runtime.types import Container, ExecConfig
from shoal.runtime.workers import Workers


@dataclass
class Started:
    """A command that was given to the runtime."""

    child: processes.Child
    pid_file: Path
    spec_file: Path
    log_file: Path  # the runtime's log, with the reason for a failure
    command: str

    def inside_pid(self) -> int:
        """Return the command's own pid on the host; 0 if it did not start."""
        return conmon.read_number(self.pid_file) or 0

    def explain(self, code: int) -> tuple[int, str]:
        """Return the command's exit code and, if it never ran, the reason in Docker's words."""
        if code == 0 or self.inside_pid():
            return code, ""
        try:
            said = self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return code, ""
        text, code = failures.exec_failed(said, self.command)
        return code, text

    def kill(self) -> None:
        """Kill the command. The runtime that waits for it then ends too."""
        pid = self.inside_pid()
        if pid:
            processes.send(pid, 0, signal.SIGKILL)

    def close(self) -> None:
        """Kill the command if it still runs, and remove its files."""
        if self.child.exit_code is None:
            self.kill()
        with self.child:
            pass
        self.pid_file.unlink(missing_ok=True)
        self.spec_file.unlink(missing_ok=True)
        self.log_file.unlink(missing_ok=True)


def spec(site: Site, container: Container, config: ExecConfig) -> dict[str, Any]:
    """Return the OCI process: the container's own, changed as the request says."""
    own = read_json((site.bundle(container.id) / "config.json").read_bytes())["process"]
    own["args"] = list(config.command)
    own["terminal"] = config.tty
    own["cwd"] = config.working_dir or own["cwd"]
    identity = None
    if config.user:
        # The user database is read from the root without the mounts in it, as in Docker. A container could put anything
        # into its /proc or a volume, and another process may have its pid by now.
        identity = bundle.identity_of(site.bundle(container.id) / "rootfs", config.user, container.config.groups)
        own["user"] = oci_spec.user(identity)
    if config.env or config.tty or identity:
        first = [entry for entry in own["env"] if not (identity and entry.startswith("HOME="))]
        if config.tty and not any(entry.startswith("TERM=") for entry in first):
            first.append("TERM=xterm")
        env = process.merge_env(first, config.env)
        if identity and not any(entry.startswith("HOME=") for entry in env):
            env = (*env, f"HOME={identity.home}")
        own["env"] = list(env)
    if config.privileged:
        names = capabilities.effective(("ALL",), (), site.host.available)
        own["capabilities"] = {"bounding": names, "effective": names, "permitted": names}
    elif identity:
        names = tuple(own["capabilities"]["bounding"])
        own["capabilities"] = oci_spec.capability_sets(names, identity)
    return dict(own)


def start(site: Site, container: Container, config: ExecConfig, fds: dict[int, int]) -> Started:
    """Give the command to the runtime. For a worker thread. `fds` are its stdio. Raises ShoalError, OSError."""
    if container.apparmor_profile == apparmor.NAME:
        apparmor.held(site.host.apparmor, "default")
    name = secrets.token_hex(6)
    there = site.bundle(container.id)
    spec_file, pid_file, log_file = (there / f"exec-{name}.{kind}" for kind in ("json", "pid", "log"))
    spec_file.write_text(json.dumps(spec(site, container, config)))
    args = [f"--log={log_file}", "exec", f"--process={spec_file}", f"--pid-file={pid_file}"]
    if config.tty:
        args.append("--tty")
    child = site.runtime.spawn(site.runtime.args(*args, container.id), fds)
    return Started(child, pid_file, spec_file, log_file, config.command[0])


async def run(site: Site, workers: Workers, container: Container, args: Sequence[str], limit: int) -> tuple[int, bytes]:
    """Run a command without stdin to its end. Return its exit code and the first `limit` bytes of its output."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    held: list[Started] = []  # filled by the thread, so that it is known even if we are cancelled meanwhile
    try:
        try:
            await workers.run(_start_quiet, site, container, ExecConfig(tuple(args)), writing, held)
        finally:
            os.close(writing)
        said = await _read_all(reading, limit)
        code = await held[0].child.wait()
        code, why = held[0].explain(code)
        return code, why.encode() or said
    finally:
        os.close(reading)
        for started in held:
            started.close()


def _start_quiet(site: Site, container: Container, config: ExecConfig, writing: int, held: list[Started]) -> None:
    with open(os.devnull, "rb") as null:
        held.append(start(site, container, config, {0: null.fileno(), 1: writing, 2: writing}))


async def _read_all(fd: int, limit: int) -> bytes:
    kept = bytearray()
    while True:
        chunk = b""
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(fd, 65536)
            if not chunk:
                return bytes(kept)
        if chunk:
            kept += chunk[: max(0, limit - len(kept))]
            await asyncio.sleep(0)
        else:
            await processes.readable(fd)
