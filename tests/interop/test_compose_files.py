"""Compose files are read as Docker's own compose program reads them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from shoal.cli.local_files import LocalFiles
from shoal.compose.errors import ComposeError
from shoal.compose.loading import load
from shoal.compose.project import Project, Settings
from tests.harness import compose_oracle
from tests.harness.compose_oracle import CASES, ENVIRONMENT, HOME

# Where the two differ on purpose; docs/compatibility.md says why.
REFUSED_BY_US_ALONE = {
    "bad-unknown-tag.yaml": "the tag !python/object:os.system is unknown",
    "bad-variable-in-key.yaml": "variables are not put into keys",
}
READ_OTHERWISE = {
    "build-forms.yaml": "a build is shown as it was written, because Swarm makes none",
    "links.yaml": "links make no depends_on, because Swarm has neither",
    "merge-port-number": "80 and '80' are one port",
}

# `docker stack config` reads these otherwise than `docker compose`, which we follow; docs/compatibility.md.
READ_OTHERWISE_BY_STACK = {
    "dotenv": "it does not read .env",
    "interpolation-nested.yaml": "variables inside of a default stay as they are",
    "merge-override": "it does not know !override",
    "ports-short.yaml": "a range of published ports is lost",
    "secrets-same-target.yaml": "two secrets may have one target",
    "several-documents.yaml": "only the first document counts",
    "volumes-by-target.yaml": "two volumes may have one target",
    "volumes-short.yaml": "targets are not made tidy",
}

needs_oracle = pytest.mark.skipif(not compose_oracle.PROGRAM.exists(), reason="script/oracle fetches the program")


def loaded(case: Path) -> Project:
    return load(Settings(compose_oracle.files_of(case), ENVIRONMENT, "/", HOME), LocalFiles())


@pytest.fixture(scope="module")
def answers() -> dict[Path, dict[str, Any] | str]:
    return compose_oracle.asked_together(compose_oracle.cases())


@needs_oracle
@pytest.mark.parametrize("case", compose_oracle.cases(), ids=lambda case: case.name)
def test_a_file_is_read_as_compose_reads_it(case: Path, answers: dict[Path, dict[str, Any] | str]) -> None:
    judged = answers[case]
    if isinstance(judged, str) or case.name in REFUSED_BY_US_ALONE:
        with pytest.raises(ComposeError) as refused:
            loaded(case)
        assert isinstance(judged, str) == (case.name not in REFUSED_BY_US_ALONE)
        assert REFUSED_BY_US_ALONE.get(case.name, "") in str(refused.value)
        return
    ours = compose_oracle.comparable(loaded(case).canonical())
    theirs = compose_oracle.comparable(compose_oracle.without_escapes(judged))
    if case.name in READ_OTHERWISE:
        assert ours != theirs, "this difference is gone: take it off the list"
    else:
        assert ours == theirs


@pytest.mark.skipif(not compose_oracle.has_stack_config(), reason="docker stack config is not there")
def test_docker_stack_reads_the_same_where_it_reads_a_file_at_all() -> None:
    found = compose_oracle.asked_of_stack(compose_oracle.cases())
    read = {case: model for case, model in found.items() if model and not case.name.startswith("bad-")}
    assert len(read) > 30
    for case, theirs in read.items():
        ours = {name: compose_oracle.for_stack(each) for name, each in loaded(case).canonical()["services"].items()}
        told = {name: compose_oracle.for_stack(each) for name, each in theirs["services"].items()}
        assert (ours == told) == (case.name not in READ_OTHERWISE_BY_STACK), f"{case.name}\n{ours}\n{told}"


def test_there_are_a_hundred_cases_and_those_that_differ_are_among_them() -> None:
    names = {case.name for case in compose_oracle.cases()}
    assert len(names) > 100
    assert {*REFUSED_BY_US_ALONE, *READ_OTHERWISE, *READ_OTHERWISE_BY_STACK} <= names


@needs_oracle
def test_the_program_is_what_it_should_be() -> None:
    said = subprocess.run([compose_oracle.PROGRAM, "version"], capture_output=True, text=True, check=True).stdout
    assert "v2.40.3" in said
    assert CASES.is_dir()
