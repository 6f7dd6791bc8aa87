"""Starts a container under conmon, which holds its stdio, log and exit code, and outlives this daemon.

Blocking; for worker threads. In: a bundle with its config.json. Out: pids, or StartFailed. Only this module reads the
files that conmon writes into the bundle: `conmon.pid`, `pid`, `exit`, `oom`, `attach` (a socket), `ctl` (a fifo).
"""

import contextlib
import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import ShoalError
from shoal.runtime import failures, mount_targets, processes
from shoal.runtime.oci_runtime import OciRuntime
from shoal.runtime.records import Running

# Seconds after which a runtime that has not made a container counts as hanging, most likely on a dead network mount.
# moby never gives up, containerd's shim does after 2 minutes too.
CREATE_TIMEOUT = 120.0

# How often it is looked at whether a silent runtime is still there; twice gone is gone.
_LOOK_EVERY = 1.0

_MESSAGE_LIMIT = 65536


@dataclass(frozen=True, slots=True)
class Launched:
    """A container whose process runs."""

    pid: int
    running: Running


@dataclass(frozen=True, slots=True)
class Launch:
    """What conmon is told."""

    id: str
    bundle: Path
    log_path: str
    command: str  # for the words of a failure
    tty: bool = False
    stdin: bool = False
    log_size_max: int = 0  # bytes; 0: unlimited, as Docker's json-file
    below_proc: frozenset[str] | None = None  # where it may have mounts there; None: not looked at


def arguments(program: str, runtime: OciRuntime, launch: Launch) -> list[str]:
    """conmon's command line."""
    bundle = str(launch.bundle)
    args = [
        program, "--cid", launch.id, "--cuuid", launch.id, "--name", launch.id[:12],
        "--runtime", runtime.path, f"--runtime-arg=--root={runtime.root}",
        "--bundle", bundle, "--persist-dir", bundle, "--full-attach",
        "--container-pidfile", f"{bundle}/pid", "--conmon-pidfile", f"{bundle}/conmon.pid",
        "--log-path", f"k8s-file:{launch.log_path}", "--log-level", "error",
        # The log of an ended container may be lost with the power; waiting for the disk at each end may not.
        "--no-sync-log",
    ]  # fmt: skip
    if launch.tty:
        args.append("--terminal")
    if launch.stdin:
        args.append("--stdin")
        if launch.tty:
            args.append("--leave-stdin-open")
    if launch.log_size_max:
        args += ["--log-size-max", str(launch.log_size_max)]
    return args


def launch(
    program: str, runtime: OciRuntime, given: Launch, keep_apart: Callable[[int], None] = lambda pid: None
) -> Launched:
    """Create and start; `program` is conmon. StartFailed with Docker's words; nothing runs then.

    `keep_apart` is told conmon's pid as soon as there is one, mostly before it has forked, so that what it starts goes
    along should this process die now; and that of the conmon that stays.
    """
    for name in ("exit", "oom", "pid", "conmon.pid", "attach", "ctl", "winsz"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{given.bundle}/{name}")
    args = arguments(program, runtime, given)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            with open(os.devnull, "r+b") as null:
                child = runtime.spawn(
                    args,
                    {0: null.fileno(), 1: null.fileno(), 2: null.fileno(), 3: writing},
                    # conmon makes its console socket in TMPDIR, whose path would be too long for one, and a file
                    # `oom` where it works: both here.
                    {"_OCI_SYNCPIPE": "3", "TMPDIR": "."},
                    str(given.bundle),
                )
        finally:
            os.close(writing)
        with child:
            keep_apart(child.pid)
            message = _message(reading, given.bundle)
            child.reap()  # what we started ends as soon as it has forked the conmon that stays
    finally:
        os.close(reading)
    pid = message.get("data", message.get("pid"))
    if not isinstance(pid, int) or pid <= 0:
        runtime.forget(given.id)
        raise failures.start_failed(runtime.name, str(message.get("message", "")), given.command)
    conmon_pid = read_number(given.bundle / "conmon.pid") or 0
    if conmon_pid:
        keep_apart(conmon_pid)
    running = Running(conmon_pid, processes.started(conmon_pid) if conmon_pid else 0, processes.started(pid))
    if why := _misplaced(pid, given):
        processes.send(pid, running.pid_started, signal.SIGKILL)
        runtime.forget(given.id)
        raise failures.start_failed(runtime.name, f"error during container init: {why}", given.command)
    runtime.start(given.id)
    return Launched(pid, running)


def _misplaced(pid: int, given: Launch) -> str | None:
    """Why a container that was made must not run: something is mounted over its /proc."""
    if given.below_proc is None:
        return None
    try:
        mounted = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):  # it was killed meanwhile: conmon tells how it ended
        return None
    # A process that has just ended has an empty one.
    return mount_targets.unexpected(mounted, given.below_proc) if mounted else None


def _message(fd: int, bundle: Path) -> dict[str, object]:
    """The first line that conmon writes; empty when it ended without one."""
    deadline = time.monotonic() + CREATE_TIMEOUT
    data, gone = b"", 0
    while b"\n" not in data and len(data) < _MESSAGE_LIMIT:
        if not select.select([fd], [], [], _LOOK_EVERY)[0]:
            gone += _runtime_is_gone(bundle)
            if gone < 2 and time.monotonic() < deadline:
                continue
            if conmon_pid := read_number(bundle / "conmon.pid"):
                processes.send(conmon_pid, 0, signal.SIGKILL)  # its runtime dies with it
            if gone == 2:
                raise ShoalError("the container runtime ended before it had made the container")
            raise ShoalError(f"the container runtime did not answer within {CREATE_TIMEOUT:.0f} s")
        chunk = os.read(fd, _MESSAGE_LIMIT)
        if not chunk:
            break
        data += chunk
    if not data:
        return {}
    try:
        message = json.loads(data.partition(b"\n")[0])
    except ValueError:
        # conmon 2.1.6 does not escape all that a runtime may say.
        return {"pid": -1, "message": data.decode(errors="replace")}
    return message if isinstance(message, dict) else {}


def _runtime_is_gone(bundle: Path) -> bool:
    """Whether conmon waits for nobody: its runtime was killed, and left it a process inside the container.

    That process holds the pipe on which conmon waits for its runtime's last words.
    """
    conmon_pid = read_number(bundle / "conmon.pid")
    if not conmon_pid:
        return False
    children = processes.children(conmon_pid)
    return bool(children) and all(processes.in_own_pid_namespace(child) for child in children)


def read_number(path: Path) -> int | None:
    """The number in a file; None when it is not there or not whole."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def exit_of(bundle: Path) -> tuple[int, float] | None:
    """Exit code and when, of a container that has ended under its conmon."""
    path = bundle / "exit"
    code = read_number(path)
    if code is None:
        return None
    return code & 0xFF, path.stat().st_mtime


def was_oom_killed(bundle: Path) -> bool:
    """Whether conmon saw the kernel kill for memory."""
    return (bundle / "oom").exists()


def resize(bundle: Path, height: int, width: int) -> None:
    """Tell a container's terminal its size. Nothing happens when it has ended."""
    with contextlib.suppress(FileNotFoundError):
        try:
            fd = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # conmon has ended
                return
            raise
        with open(fd, "wb", buffering=0) as control:
            # conmon refuses sizes over 1000.
            control.write(f"1 {min(height, 1000)} {min(width, 1000)}\n".encode())
