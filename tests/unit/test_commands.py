"""Every program that this repository starts is on this machine. This finds programs that script/bootstrap forgot to
install.

The sources are read, not run: a command line is found by its place in the code. In a fresh root (script/fresh) all
programs were installed by script/bootstrap.
"""

import ast
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.host import programs

REPOSITORY = Path(__file__).parents[2]
TREES = ("src", "tests", "benchmarks")
# Functions and classes whose first argument is a program, or a list that begins with one.
STARTERS = {
    "subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call",
    "spawning.start", "asyncio.to_thread", "os.execvp", "os.posix_spawn", "shutil.which",
    "programs.find", "run", "_found", "_ip", "_without",
}  # fmt: skip
METHODS = {"inside"}  # `Host` runs the command in its network, with this machine's programs
NAMES = re.compile(r"(/[a-z/]+/)?[a-z][a-z0-9_.+-]*")
NO_PROGRAMS = {"inspect", "login", "swarm"}  # the arguments of skopeo and docker
# script/bootstrap does not install it if the kernel has no AppArmor; and without systemd one test is skipped.
NEEDLESS = {"systemd-analyze"} | (set() if Path("/sys/kernel/security/apparmor").is_dir() else {"apparmor_parser"})
INITS = {"docker-init", "tini", "tini-static", "catatonit"}  # one of these is enough: runtime/host.py


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for tree in TREES:
        for path in sorted((REPOSITORY / tree).rglob("*.py")):
            # Only script/test-vm runs `tests/vm`, and it checks for its programs itself.
            if not {"gen", "vm"} & set(path.relative_to(REPOSITORY).parts):
                yield path, ast.parse(path.read_text())


def constants(module: ast.Module) -> dict[str, str]:
    """Return the names that have one text as their value in the whole module."""
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "Path" and value.args:
                value = value.args[0]
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[node.targets[0].id] = value.value
    return found


def words(node: ast.expr, known: dict[str, str]) -> list[str | None]:
    """Return the words of a command line, as far as the source has them. None if the command line is made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=name):
            return [known.get(name)]
        case ast.Starred(value=inner):
            return words(inner, known)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [word for part in parts for word in words(part, known)]
        case ast.BinOp(left=left, right=right):
            return [*words(left, known), *words(right, known)]
    return [None]


def started(line: list[str | None]) -> Iterator[str]:
    """Return the program at the beginning of a command line, and the one that it starts after `--`."""
    if line and line[0] is not None:
        yield line[0]
    for before, word in itertools.pairwise(line):
        if before == "--" and word is not None and line[0] in ("nsenter", "setpriv", "unshare"):
            yield word


def find(module: ast.Module) -> set[str]:
    known = constants(module)
    found: set[str] = set()
    for node in ast.walk(module):
        lines: list[list[str | None]] = []
        if isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func)
            if name in STARTERS or name.rpartition(".")[2] in METHODS:
                first = node.args[1:] if name == "asyncio.to_thread" else node.args
                if first:
                    lines.append([word for part in first for word in words(part, known)])
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Tuple):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and ("command" in target.id or target.id in ("PROGRAM", "wrapper")):
                lines.append(words(node.value, known))
        elif isinstance(node, ast.List | ast.Tuple) and node.elts:
            line = words(node, known)
            if line and line[0] in ("nsenter", "unshare", "setpriv", "ip", "sh", "bash"):
                lines.append(line)
        for line in lines:
            found |= set(started(line))
    return {word for word in found if NAMES.fullmatch(word)}


FOUND = {path.relative_to(REPOSITORY): find(module) for path, module in sources()}


def test_every_program_that_is_started_is_there() -> None:
    wanted = set().union(*FOUND.values(), programs.PACKAGES) - NO_PROGRAMS - INITS - NEEDLESS
    missing = {
        name: [str(path) for path, names in FOUND.items() if name in names]
        for name in sorted(wanted)
        if shutil.which(name, path=programs.search_path()) is None
    }
    assert not missing, "missing in script/bootstrap test, or not installed as it was not run as root"
    assert any(shutil.which(name, path=programs.search_path()) for name in INITS)


@pytest.mark.parametrize(
    "program",
    [
        *("conmon", "crun", "etcd", "ip", "mount", "nft", "ps", "runc", "setpriv", "skopeo", "zstd"),
        *("/bin/busybox", "curl", "docker", "docker-registry", "dockerd", "htpasswd", "nsenter", "openssl", "prlimit"),
        *("ss", "umount", "unshare"),
    ],
)
def test_the_sources_are_read_well_enough_to_find(program: str) -> None:
    assert any(program in names for names in FOUND.values())


def test_what_the_daemon_looks_for_has_a_package_and_the_other_way_round() -> None:
    looked_for = {name for path, names in FOUND.items() if path.parts[0] == "src" for name in names}
    assert looked_for - NO_PROGRAMS - {"setpriv", "zstd"} <= set(programs.PACKAGES)
    assert set(programs.PACKAGES) - INITS <= looked_for
