"""Configurations of networks, kept in a file."""

from pathlib import Path

import pytest

from shoal.errors import DamagedState
from shoal.network.configurations import Configurations
from shoal.network.types import Configuration, ConfiguredSubnet

GIVEN = Configuration(
    (ConfiguredSubnet("192.0.2.0/24", reserved=(("printer", "192.0.2.9"),)),), options=(("parent", "eth0"),)
)


async def test_they_are_there_again_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "configurations.json"
    first = Configurations(file)
    base = await first.create("base", GIVEN)
    other = await first.create("other", Configuration())
    again = Configurations(file)
    assert again.list() == [base, other]
    assert again.get("other") == other
    await again.remove(base.id)
    await again.remove(base.id)
    assert Configurations(file).list() == [other]
    assert again.get("base") is None


async def test_one_that_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    made = Configurations(tmp_path / "gone" / "configurations.json")
    with pytest.raises(OSError, match="No such file"):
        await made.create("base", GIVEN)
    assert made.list() == []


@pytest.mark.parametrize(
    "text", ["{", "[1]", "{}", '{"networks": [{"id": "a"}]}', '{"networks": [{"id": "a", "name": 1}]}']
)
def test_a_damaged_file_is_named_and_left(tmp_path: Path, text: str) -> None:
    file = tmp_path / "configurations.json"
    file.write_text(text)
    with pytest.raises(DamagedState, match=r"configurations\.json"):
        Configurations(file)
    assert file.read_text() == text
