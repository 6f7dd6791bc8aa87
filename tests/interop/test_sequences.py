"""The same commands to a Docker Engine's swarm and to ours, and the same state in the end.

The sequences are the files in `sequences/`; its README.md tells how one is written. All are played before the first
test: in each swarm those that touch no node and not the swarm together, then the others one by one.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.harness.sequences.compare import problems
from tests.harness.sequences.files import Sequence, every
from tests.harness.sequences.player import Record, play_to_all
from tests.harness.sequences.swarms import swarm

pytestmark = pytest.mark.timeout(500)
SEQUENCES = every()


@pytest.fixture(scope="module")
def records(request: pytest.FixtureRequest) -> Iterator[dict[str, dict[str, Record]]]:
    """What came of each sequence that this run has been asked for, by its name and the swarm's kind."""
    here = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    wanted = [one for item in here if isinstance(one := item.callspec.params["sequence"], Sequence)]
    sizes = sorted({sequence.nodes for sequence in wanted})
    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:
            swarms = list(
                pool.map(stack.enter_context, [swarm(kind, size) for size in sizes for kind in ("docker", "shoal")])
            )
        yield play_to_all(wanted, swarms)


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
def test_same_end(sequence: Sequence, records: dict[str, dict[str, Record]], request: pytest.FixtureRequest) -> None:
    came = records[sequence.name]
    for kind, record in came.items():
        shown = f"{record.took:.1f} s\n{json.dumps(record.told, indent=1)}"
        request.node.add_report_section("call", kind, shown)
    wrong = [f"{kind}: {record.fault}" for kind, record in came.items() if record.fault]
    wrong += problems(came["docker"].told, came["shoal"].told, sequence.differences_to(came["docker"].engine))
    assert not wrong, f"{sequence.title}\n" + "\n".join(wrong)
