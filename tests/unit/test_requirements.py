"""Every package that pyproject.toml needs is locked: one version of each, with hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCKS = {"run": [], "test": ["test"], "generate": ["generate"]}  # the extras that each file locks
# Libraries whose private parts we use. These may change with any release, so our bound names the newest version that
# was tried.
PRIVATELY_USED = {"aiohttp", "grpclib"}
# For each Python and processor on which we run.
PLACES = [
    {"python_version": version, "python_full_version": f"{version}.2", "platform_machine": machine}
    | {"sys_platform": "linux", "platform_python_implementation": "CPython", "implementation_name": "cpython"}
    for version in ("3.11", "3.13", "3.14")
    for machine in ("x86_64", "aarch64")
]


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line.split("--hash=") for line in text.splitlines() if line and not line.startswith("#")]
    return {(one := Requirement(line[0])).name: (one, [digest.strip() for digest in line[1:]]) for line in lines}


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_is_pinned_with_hashes(name: str) -> None:
    for package, (requirement, hashes) in locked(name).items():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), package
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), package


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place['python_version']}-{place['platform_machine']}")
def test_what_the_project_asks_for_is_locked(name: str, place: dict[str, str]) -> None:
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    asked += [Requirement(line) for extra in LOCKS[name] for line in PROJECT["optional-dependencies"][extra]]
    asked.append(Requirement("hatchling"))  # it builds our own package
    have = locked(name)
    for wanted in asked:
        requirement, _ = have[wanted.name]
        (pin,) = requirement.specifier
        assert wanted.specifier.contains(pin.version, prereleases=True), f"{wanted}: run script/lock"
        assert requirement.marker is None or requirement.marker.evaluate(place)


def test_all_locks_have_the_same_versions() -> None:
    run = locked("run")
    for name in LOCKS:
        for package, (requirement, _) in locked(name).items():
            if package in run:
                assert requirement.specifier == run[package][0].specifier, package


def test_libraries_whose_private_parts_we_use_have_an_upper_bound() -> None:
    asked = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
    for name in PRIVATELY_USED:
        assert {part.operator for part in asked[name].specifier} >= {">=", "<"}, name


def test_the_scripts_install_nothing_that_is_not_locked() -> None:
    for script in ("bootstrap", "install"):
        text = (REPOSITORY / "script" / script).read_text()
        calls = re.findall(r"^ *pip (?!install\b)(.*)$", text, re.MULTILINE)
        assert len(calls) == 2, calls
        assert any("--require-hashes" in call for call in calls)
        assert all("--require-hashes" in call or "--no-deps --no-build-isolation" in call for call in calls)
        assert text.count("pip install") == 1, "only inside of the function pip"
