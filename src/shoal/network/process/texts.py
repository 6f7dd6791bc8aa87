"""The JSON of one wanted state after the other: of what did not change, the text is not made again. Pure."""

from collections.abc import Iterable
from typing import Any

from shoal.network.process.changes import KEYED
from shoal.network.wanted import Wanted, hints, text_of


class Texts:
    """Texts of the items of the last state. An item counts as the same where it is the same object."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Any, str]] = {}

    def whole(self, wanted: Wanted) -> bytes:
        """Return what `to_json` gives."""
        known: dict[tuple[str, str], tuple[Any, str]] = {}
        fields = []
        for name in hints(Wanted):
            value = getattr(wanted, name)
            text = self._list(name, value, known) if name in KEYED else text_of(value)
            fields.append(f'"{name}":{text}')
        self._known = known
        return f"{{{','.join(fields)}}}".encode()

    def _list(self, name: str, items: Iterable[Any], known: dict[tuple[str, str], tuple[Any, str]]) -> str:
        texts = []
        for item in items:
            key = (name, getattr(item, KEYED[name]))
            former, text = self._known.get(key, (None, ""))
            if former is not item:
                text = text_of(item)
            known[key] = (item, text)
            texts.append(text)
        return f"[{','.join(texts)}]"
