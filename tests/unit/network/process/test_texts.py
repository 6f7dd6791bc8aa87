"""Texts that are put together are those that are made whole."""

from hypothesis import given

from shoal.network.process.texts import Texts
from shoal.network.wanted import Wanted, to_json
from tests.unit.network.process.wanteds import sequences


@given(sequences())
def test_a_text_is_the_same_whatever_was_told_before(sequence: list[Wanted]) -> None:
    texts = Texts()
    for wanted in sequence:
        assert texts.whole(wanted) == to_json(wanted)
        assert texts.whole(wanted) == to_json(wanted)
