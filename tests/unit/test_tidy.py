"""Checks what linters do not see: pure modules, tests that mirror the sources, the size of modules, the direction of
imports, and tests that the documents name.
"""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import LONGEST, in_turn

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "shoal"
# Test modules that are about the repository as a whole, or about the tests themselves.
ABOUT_THE_REPOSITORY = {
    *("test_tidy.py", "test_requirements.py", "test_commands.py", "test_sequences.py"),
    "test_known_faults.py",
}
IO_MODULES = {"asyncio", "socket", "time", "random", "subprocess", "grpclib", "aiohttp", "pyroute2", "uvloop", "ssl"}
# In packages that decide, neither a module nor what it imports does I/O. These modules are the exceptions.
DECIDING = {"manager", "agent", "network", "compose"}
SHELLS = {
    "agent": "agent channel controller host log_streams pulls reports session sessions task tasks views",
    "manager/certificates": "external_signer server",
    "manager/deciding": "leader loop",
    "manager/dispatcher": "feed hosts nodes probe reports server streams",
    "manager/forwarding": "calls control leader_link placement services views",
    "manager/logs": "pipe server",
    "manager/membership": "managers probe",
    "manager/peers": "incoming keeper outgoing process",
    "manager/views": "server",
    "manager/port": "guard measured messages outgoing server shares turns wire",
    "network": "bridge configurations guard namespaces netlink nft_program overlays plumbing",
    "network/balancing": "balancer ending",
    "network/encryption": "encrypter",
    "network/gossip": "server sockets",
    "network/host_ports": "direct holding publisher",
    "network/kernel": "nftables overlays watched workplace",
    "network/leftovers": "host sweeper",
    "network/local": "networks plumbing",
    "network/mesh": "mesher mesher6 reserved",
    "network/names": "outside server sockets",
    "network/translation": "translated translator",
    "network/process": "client composition connection early keeper kernel lookout own program server talk",
}
# Modules without unit tests of their own. The list may only become shorter.
DEBTS = {
    "agent": "controller host log_streams reports runtime session tasks",
    "agent/templates": "functions lexer literals mistakes parser tree values",
    "api": "engines ids v1",
    "daemon": "daemon flags",
    "engine": (
        "backend body control_client errors go_words host_facts info lookups names parameters pinning "
        "platforms replies router stdio streams timestamps unsupported"
    ),
    "engine/codec": "cache cluster common container_spec node secret service task task_spec",
    ".": "errors paths",
    "manager/control": "filters names unsupported validate_ipam validate_references",
    "manager/deciding": "plan",
    "manager/dispatcher": "hosts",
    "manager/forwarding": "leader_link services",
    "manager/membership": "probe",
    "manager/peers": "process",
    "manager/port": "wire",
    "network": "bridge namespaces netlink plumbing",
    "node": "founding interfaces manager membership places restoring term types",
    "runtime": (
        "adoption archive attachment bundle command conmon containers creation interfaces oci_runtime "
        "processes rootfs starting survey types unpack_child workers"
    ),
}
# They import grpclib only for the names of its statuses and messages.
WITHOUT_IO = {"shoal.errors", "shoal.api"}
# package -> our packages that it may not import
FORBIDDEN = {
    "api": {"engine", "store", "ca", "manager", "agent", "runtime", "network", "host", "daemon", "node", "cli"},
    "host": {"engine", "store", "ca", "manager", "agent", "runtime", "network", "api", "daemon", "node", "cli"},
    "store": {"engine", "ca", "manager", "agent", "runtime", "network", "host", "daemon", "node", "cli"},
    "ca": {"engine", "store", "manager", "agent", "runtime", "network", "host", "daemon", "node", "cli"},
    "manager": {"engine", "agent", "runtime", "network", "host", "daemon", "node", "cli"},
    "agent": {"engine", "store", "manager", "daemon", "node", "cli"},
    "runtime": {"engine", "store", "ca", "manager", "agent", "daemon", "node", "cli"},
    "network": {"engine", "store", "ca", "manager", "agent", "runtime", "daemon", "node", "cli"},
    "node": {"engine", "daemon", "cli"},
    "engine": {"daemon", "cli", "agent"},
    "compose": {
        *("engine", "store", "ca", "manager", "agent", "runtime", "network", "host", "daemon", "node", "cli", "api")
    },
    "cli": {"engine", "ca", "manager", "agent", "runtime", "network", "host", "daemon", "node"},
}
MAX_LINES = 500
# Where JSON of a program of ours is read by Python's own reader: messages over a pipe that nobody else has.
OWN_JSON = {
    "manager/peers/orders",
    *(f"network/process/{name}" for name in ("changes", "inheritance", "memory", "messages")),
}


def modules() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*.py") if "gen" not in path.relative_to(SOURCES).parts)


def imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports at run time."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCES.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def with_io() -> set[str]:
    """Return our modules that do I/O, or import one that does."""
    found = {dotted(path): imports(path) for path in modules()}
    for name in WITHOUT_IO:
        found.pop(name)
    impure = {name for name, names in found.items() if {n.split(".")[0] for n in names} & IO_MODULES}
    while more := {name for name, names in found.items() if names & impure} - impure:
        impure |= more
    return impure


def test_deciding_modules_do_no_io() -> None:
    """SHELLS names every shell, and nothing else."""
    shells = {f"shoal.{room.replace('/', '.')}.{name}" for room, names in SHELLS.items() for name in names.split()}
    found = {name for name in with_io() if set(name.split(".")[1:2]) & DECIDING}
    assert sorted(found - shells) == [], "decide without I/O, or say in SHELLS that it is none"
    assert sorted(shells - found) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_imports_point_downwards(path: Path) -> None:
    package = path.relative_to(SOURCES).parts[0].removesuffix(".py")
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("shoal.") and name.count(".") >= 1}
    assert not ours & FORBIDDEN.get(package, set())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_write_is_taken_for_whole(path: Path) -> None:
    """os.write may write only a part, and returns how much. Once an image's file was too short on a nearly full
    disk.
    """
    ignored = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in {"os.write", "os.pwrite", "os.sendfile", "os.copy_file_range"}
    ]
    assert not ignored, f"{path}: what these lines return is ignored: {ignored}"


def test_json_is_read_by_one_function() -> None:
    """What Python's own reader does with hostile JSON surprises everybody: see `json_text`."""
    reading = {
        str(path.relative_to(SOURCES).with_suffix(""))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"json.loads", "json.load", "tomllib.loads", "tomllib.load"}
    }
    assert reading == OWN_JSON, "read it by json_text.read_json"


def test_modules_are_small() -> None:
    long = {
        str(path.relative_to(ROOT)): n for path in modules() if (n := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def _subject(path: Path) -> str | None:
    """Return the path, without suffix, of the source module that a test module is about. None if there is none."""
    # `test_app_fuzz.py` is about one side of `app.py`.
    words = path.stem.removeprefix("test_").split("_")
    folder = path.parent.relative_to(ROOT / "tests" / "unit")
    for count in range(len(words), 0, -1):
        name = folder / "_".join(words[:count])
        if (SOURCES / name).with_suffix(".py").exists() or (SOURCES / name).is_dir():
            return str(name)
    return None


def test_unit_tests_mirror_the_sources() -> None:
    """The name of a test module is that of the source module it is about. Files of fakes and fixtures do not begin with
    test_.
    """
    tests = (ROOT / "tests" / "unit").rglob("test_*.py")
    strays = [path.name for path in tests if path.name not in ABOUT_THE_REPOSITORY and _subject(path) is None]
    assert not strays


def test_sources_have_unit_tests_of_their_own() -> None:
    """DEBTS lists modules that only other modules' tests cover. A new module may not be added; a module that gets tests
    is removed.
    """
    tested = {_subject(path) for path in (ROOT / "tests" / "unit").rglob("test_*.py")}
    untested: dict[str, list[str]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).with_suffix("")
        if not path.name.startswith("__") and "gen" not in name.parts and str(name) not in tested:
            untested.setdefault(str(name.parent), []).append(name.name)
    assert {folder: " ".join(names) for folder, names in untested.items()} == DEBTS


def test_tests_that_the_documents_name_are_there() -> None:
    """`unit/engine/swarm::x` in docs/compatibility.md is the function test_x in tests/unit/engine/test_swarm.py."""
    text = (ROOT / "docs" / "compatibility.md").read_text()
    named = re.findall(r"`((?:unit|simulation|cluster|interop|attackers)(?:/\w+)+)(?:::(\w+))?`", text)
    assert named
    missing = []
    for path, function in named:
        file = (ROOT / "tests" / path).with_name(f"test_{path.rpartition('/')[2]}.py")
        source = file.read_text() if file.exists() else ""
        if not source or (function and f"def test_{function}(" not in source):
            missing.append(f"{path}::{function}")
    assert not missing


def test_modules_that_take_long_are_there_and_begin_first() -> None:
    files = [str(path.relative_to(ROOT / "tests")) for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    turn = in_turn(files)
    assert sorted(turn) == files
    assert [module for module in turn if module in LONGEST] == list(LONGEST)
    assert turn.index(LONGEST[-1]) < len(turn) / 4
    assert in_turn(["unit/a", "unit/b", "cluster/x", "unit/c", "unit/d", "interop/y"]) == [
        *("unit/a", "cluster/x", "unit/b", "unit/c", "interop/y", "unit/d"),
    ]
    assert in_turn([]) == []
