"""Starts a container under conmon, which holds its stdio, log and exit code, and outlives this daemon.

Blocking; for worker threads. In: a bundle with its config.json. Out: pids, or StartFailed. Only this module reads the
files that conmon writes into the bundle: `conmon.pid`, `pid`, `exit`, `oom`, `attach` (a socket), `ctl` (a fifo).
"""

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import ShoalError
from shoal.json_text import read_json
from shoal.runtime import failures, mount_targets, processes
from shoal.runtime.oci_runtime import OciRuntime
from shoal.runtime.records import Running

# Seconds after which a runtime that has not made a container counts as hanging, most likely on a dead network mount.
# moby never gives up, containerd's shim does after 2 minutes too.
CREATE_TIMEOUT = 120.0

# Seconds between checks whether a silent runtime still exists. It counts as gone after two checks.
_LOOK_EVERY = 1.0

_MESSAGE_LIMIT = 65536


@dataclass(frozen=True, slots=True)
class Launched:
    """A started container: its pid, and the record of what runs."""

    pid: int
    running: Running


@dataclass(frozen=True, slots=True)
class Launch:
    """What conmon needs to know."""

    id: str
    bundle: Path
    log_path: str
    command: str  # for the text of a failure
    tty: bool = False
    stdin: bool = False
    log_size_max: int = 0  # bytes; 0: unlimited, like Docker's json-file
    below_proc: frozenset[str] | None = None  # the paths that may be mounted below /proc; None: not checked


def arguments(program: str, runtime: OciRuntime, launch: Launch) -> list[str]:
    """Return conmon's command line."""
    bundle = str(launch.bundle)
    args = [
        program, "--cid", launch.id, "--cuuid", launch.id, "--name", launch.id[:12],
        "--runtime", runtime.path, f"--runtime-arg=--root={runtime.root}",
        "--bundle", bundle, "--persist-dir", bundle, "--full-attach",
        "--container-pidfile", f"{bundle}/pid", "--conmon-pidfile", f"{bundle}/conmon.pid",
        "--log-path", f"k8s-file:{launch.log_path}", "--log-level", "error",
        # A power failure may cost the log of an ended container. Waiting for the disk at each end would be worse.
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
    program: str,
    runtime: OciRuntime,
    given: Launch,
    keep_apart: Callable[[int], None] = lambda pid: None,
    held: Sequence[int] = (),
) -> Launched:
    """Create and start a container; `program` is conmon. Raises StartFailed with Docker's words; then nothing runs.

    `keep_apart` gets conmon's first pid at once, mostly before conmon has forked, so that its children are moved along
    even if this process dies now. Later it gets the pid of the conmon that stays. It inherits the
    descriptors `held`, which are then open for as long as the container lives: the container's own process has none.
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
                    {0: null.fileno(), 1: null.fileno(), 2: null.fileno(), 3: writing, **dict(enumerate(held, 4))},
                    # conmon makes its console socket in TMPDIR and a file `oom` in its working directory. Both must be
                    # here; the absolute path would be too long for a socket.
                    {"_OCI_SYNCPIPE": "3", "TMPDIR": "."},
                    str(given.bundle),
                )
        finally:
            os.close(writing)
        with child:
            keep_apart(child.pid)
            message = _message(reading, given.bundle)
            child.reap()  # it ends as soon as it has forked the conmon that stays
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
    """Return why a created container must not run: something unexpected is mounted over its /proc. Else None."""
    if given.below_proc is None:
        return None
    try:
        mounted = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):  # it was killed meanwhile; conmon will write its exit code
        return None
    # The file of a process that has just ended is empty.
    return mount_targets.unexpected(mounted, given.below_proc) if mounted else None


def _message(fd: int, bundle: Path) -> dict[str, object]:
    """Return the first message that conmon writes, or an empty one if it ended without it. Raises ShoalError."""
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
        message = read_json(data.partition(b"\n")[0])
    except ValueError:
        # conmon 2.1.6 does not escape all characters of a runtime's message.
        return {"pid": -1, "message": data.decode(errors="replace")}
    return message if isinstance(message, dict) else {}


def _runtime_is_gone(bundle: Path) -> bool:
    """Return whether conmon's runtime was killed and left a process inside the container.

    That process holds the pipe open on which conmon waits for the runtime's message, so conmon would wait for ever.
    """
    conmon_pid = read_number(bundle / "conmon.pid")
    if not conmon_pid:
        return False
    children = processes.children(conmon_pid)
    return bool(children) and all(processes.in_own_pid_namespace(child) for child in children)


def read_number(path: Path) -> int | None:
    """Return the number in a file, or None if the file is missing or incomplete."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def exit_of(bundle: Path) -> tuple[int, float] | None:
    """Return exit code and time of the end of a container, or None if its conmon has not written them."""
    path = bundle / "exit"
    code = read_number(path)
    if code is None:
        return None
    return code & 0xFF, path.stat().st_mtime


def was_oom_killed(bundle: Path) -> bool:
    """Return whether conmon saw the kernel kill a process for lack of memory."""
    return (bundle / "oom").exists()


def resize(bundle: Path, height: int, width: int) -> None:
    """Set the size of a container's terminal. Does nothing if the container has ended."""
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
