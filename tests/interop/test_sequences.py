"""The same commands to a Docker Engine's swarm and to ours, and the same state in the end.

The sequences are the files in `sequences/`; its README.md tells how one is written. Those that touch no node and not
the swarm play together, all at once, before the first test; the others play alone.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness.sequences.compare import problems
from tests.harness.sequences.files import Sequence, every
from tests.harness.sequences.player import Record, play
from tests.harness.sequences.swarms import Swarm, swarm

pytestmark = pytest.mark.timeout(300)
SEQUENCES = every()


class Stages:
    """The swarms of each size, a Docker Engine's and ours, made when they are first asked for."""

    def __init__(self, stack: ExitStack, wanted: list[Sequence]) -> None:
        self._stack = stack
        self._swarms: dict[int, list[Swarm]] = {}
        together = [sequence for sequence in wanted if not sequence.alone]
        self._played = play(together, self.swarms(1)) if together else {}

    def swarms(self, nodes: int) -> list[Swarm]:
        """Return the two swarms of a size."""
        if nodes not in self._swarms:
            self._swarms[nodes] = [self._stack.enter_context(swarm(kind, nodes)) for kind in ("docker", "shoal")]
        return self._swarms[nodes]

    def records(self, sequence: Sequence) -> dict[str, Record]:
        """Return what came of a sequence, by the swarm's kind."""
        if sequence.name not in self._played:
            self._played |= play([sequence], self.swarms(sequence.nodes))
        return self._played[sequence.name]


@pytest.fixture(scope="module")
def stages(request: pytest.FixtureRequest) -> Iterator[Stages]:
    """The swarms; what plays together is what this run has been asked for."""
    here = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    wanted = [one for item in here if isinstance(one := item.callspec.params["sequence"], Sequence)]
    with ExitStack() as stack:
        yield Stages(stack, wanted)


def parameters() -> list[object]:
    return [
        pytest.param(
            sequence,
            id=sequence.name,
            marks=[pytest.mark.xfail(reason=sequence.lacking, strict=True)] if sequence.lacking else [],
        )
        for sequence in SEQUENCES
    ]


@pytest.mark.parametrize("sequence", parameters())
def test_same_end(sequence: Sequence, stages: Stages, request: pytest.FixtureRequest) -> None:
    records = stages.records(sequence)
    for kind, record in records.items():
        shown = f"{record.took:.1f} s\n{json.dumps(record.told, indent=1)}"
        request.node.add_report_section("call", kind, shown)
    wrong = [f"{kind}: {record.fault}" for kind, record in records.items() if record.fault]
    wrong += problems(records["docker"].told, records["shoal"].told, sequence.differences)
    assert not wrong, f"{sequence.title}\n" + "\n".join(wrong)
