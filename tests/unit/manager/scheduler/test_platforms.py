"""Which nodes an image can run on."""

import pytest

from shoal.api import v1 as api
from shoal.manager.scheduler import platforms
from tests.unit.manager.builders import node


def on(system: str, architecture: str) -> api.Node:
    made = node("a")
    made.description.platform.CopyFrom(api.Platform(os=system, architecture=architecture))
    return made


@pytest.mark.parametrize(
    ("listed", "there", "fits"),
    [
        (("linux", "amd64"), ("linux", "x86_64"), True),
        (("linux", "x86_64"), ("linux", "amd64"), True),
        (("linux", "arm64"), ("linux", "aarch64"), True),
        (("linux", "arm"), ("linux", "armv7l"), True),
        (("linux", "arm64"), ("linux", "x86_64"), False),
        (("windows", "amd64"), ("linux", "x86_64"), False),
        (("", "amd64"), ("linux", "x86_64"), True),
        (("linux", ""), ("linux", "riscv64"), True),
    ],
)
def test_a_node_is_known_by_either_name_of_its_architecture(
    listed: tuple[str, str], there: tuple[str, str], fits: bool
) -> None:
    """Known fault 69."""
    wanted = platforms.wanted([api.Platform(os=listed[0], architecture=listed[1])])
    assert platforms.matches(wanted, on(*there)) is fits


def test_an_image_without_platforms_runs_anywhere_and_unknown_ones_count_for_nothing() -> None:
    """Known fault 69, moby/moby#53012: images list "unknown" for parts that are no programs."""
    unknown = api.Platform(os="unknown", architecture="unknown")
    assert platforms.wanted([]) == platforms.wanted([unknown]) == ()
    assert platforms.matches((), node("says nothing"))
    wanted = platforms.wanted([unknown, api.Platform(os="linux", architecture="amd64")])
    assert not platforms.matches(wanted, on("linux", "aarch64"))
    assert not platforms.matches(wanted, node("says nothing"))
