"""Lists the processes of a container with the host's `ps`. Blocking.

In: the pids of its cgroup and the user's arguments for ps. Out: titles and rows, without other processes.
"""

import subprocess

from shoal.errors import InvalidArgument, ShoalError
from shoal.host import programs

Table = tuple[list[str], list[list[str]]]  # titles, rows

DEFAULT_ARGS = "-ef"
_TIMEOUT = 10.0


def processes(pids: list[int], ps_args: str) -> Table:
    """Run ps and keep the rows of these pids. Raises ShoalError, InvalidArgument."""
    args = (ps_args or DEFAULT_ARGS).split()
    # Not all styles of ps accept -q. So, as in moby, ps prints all processes, and the rows are chosen here.
    done = subprocess.run(
        [programs.find("ps"), *args], capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ShoalError(f"error running ps: {said or f'exit status {done.returncode}'}")
    return choose(done.stdout.decode(errors="replace"), frozenset(pids))


def choose(output: str, pids: frozenset[int]) -> Table:
    """Return the titles, and the rows with one of these pids. The last column keeps its blanks.

    Raises InvalidArgument if there is no column PID.
    """
    lines = output.split("\n")  # a command may contain other characters that Python takes for ends of lines
    titles = lines[0].split()
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    at = titles.index("PID")
    shown, rows = {str(pid) for pid in pids}, []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > at and fields[at] in shown:
            rows.append(fields)
    return titles, rows
