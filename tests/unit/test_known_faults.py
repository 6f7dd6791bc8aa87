"""A test names each of Docker's known faults that the documentation lists, and shows that Shoal does not have it."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NAMED = re.compile(r"known[-_ ]faults?[_ ]((?:\d+(?:, | and |_and_)?)+)", re.IGNORECASE)
# tests/unit/network/networkdb/test_networkdb_faults.py has the number in the names of its tests.
IN_A_NAME = re.compile(r"def test_(\d+)_")


def test_each_known_fault_is_named_by_a_test() -> None:
    listed = {int(n) for n in re.findall(r"^(\d+)\. ", (REPOSITORY / "docs/known-faults.md").read_text(), re.MULTILINE)}
    named: set[int] = set()
    for file in (REPOSITORY / "tests").rglob("*.py"):
        text = file.read_text()
        numbers = " ".join(NAMED.findall(text))
        named |= {int(number) for number in (*re.findall(r"\d+", numbers), *IN_A_NAME.findall(text))}
    assert len(listed) > 50
    assert sorted(listed - named) == []
