"""Bad input is refused as Docker refuses it: each row of `bad_specs.py` is sent to both, on hosts of their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host
from tests.interop.bad_specs import ACCEPTED, COMMANDS, CREATE, ROWS, Answer, Row, spec
from tests.interop.conftest import IMAGE


class Asked:
    """A swarm of one, of either kind, with a service `kept` that must not change."""

    def __init__(self, on: Host | DockerEngine, folder: Path) -> None:
        self._on = on
        self._file = folder / "body"
        _, kept = self._post(CREATE, json.dumps(spec("kept", Mode={"Replicated": {"Replicas": 0}})))
        self._service = kept["ID"]

    def _post(self, path: str, body: str) -> tuple[int, dict[str, str]]:
        self._file.write_text(body)  # megabytes do not fit on a command line
        data = ("-X", "POST", "-H", "Content-Type: application/json", "-H", "Expect:", "-d", f"@{self._file}")
        out = self._on.curl(path, *data, "-w", "\n%{http_code}")
        text, _, status = out.rpartition("\n")
        return int(status), json.loads(text) if text.strip() else {}

    def answer(self, row: Row) -> Answer:
        """Send a row. Returns the status and message. What was accepted is removed again."""
        service = json.loads(self._on.curl(f"/services/{self._service}"))
        (node,) = json.loads(self._on.curl("/nodes"))
        path = row.path.format(
            service=self._service, version=service["Version"]["Index"], node=node["ID"],
            node_version=node["Version"]["Index"],
        )  # fmt: skip
        status, reply = self._post(path, row.body if isinstance(row.body, str) else json.dumps(row.body))
        if "ID" in reply:
            self._on.curl(f"/services/{reply['ID']}", "-X", "DELETE")
        return status, reply.get("message", "")

    def kept(self) -> object:
        """Return what all rows must leave unchanged."""
        services = json.loads(self._on.curl("/services"))
        (node,) = json.loads(self._on.curl("/nodes"))
        return [(service["Spec"]["Name"], service["Version"]) for service in services], node["Spec"]


def fits(got: Answer, wanted: Answer) -> bool:
    """Return whether an answer is the expected one."""
    begins = wanted[1].endswith("...") and got[1].startswith(wanted[1][:-3])
    return got[0] == wanted[0] and (begins or got[1] == wanted[1])


def in_the_words_of_20_10(message: str) -> str:
    """Return a refusal of a newer dockerd in the words of 20.10."""
    return message.removeprefix("invalid JSON: ").replace("ServiceSpec.Annotations.", "ServiceSpec.")


@pytest.fixture
def docker() -> Iterator[DockerEngine]:
    made = DockerEngine("docker")
    try:
        made.start()
        made.docker("swarm", "init", "--advertise-addr", made.address)
        yield made
    finally:
        made.close()


def test_bad_input_is_refused_as_docker_refuses_it(swarm: Host, docker: DockerEngine, tmp_path: Path) -> None:
    ours, theirs = Asked(swarm, tmp_path), Asked(docker, tmp_path)
    before = ours.kept(), theirs.kept()
    wrong: list[str] = []
    for row in ROWS:
        for who, asked, wanted in (("shoal", ours, row.ours or row.answer), ("dockerd", theirs, row.by_dockerd())):
            got = asked.answer(row)
            if who == "dockerd":
                got = (got[0], in_the_words_of_20_10(got[1]))
            if not fits(got, wanted):
                wrong.append(f"{row.name}, {who}: {got[0]} {got[1][:300]!r}, not {wanted[0]} {wanted[1][:300]!r}")
    assert not wrong, "\n".join(wrong)
    assert (ours.kept(), theirs.kept()) == before
    assert ACCEPTED in {row.answer for row in ROWS}


def test_dockers_command_refuses_it_before_it_asks(swarm: Host) -> None:
    for command in COMMANDS:
        done = swarm.docker("service", "create", "--no-resolve-image", *command.arguments, IMAGE, check=False)
        assert done.returncode, command
        assert command.message in done.stderr, command
    assert not swarm.docker("service", "ls", "-q").stdout
