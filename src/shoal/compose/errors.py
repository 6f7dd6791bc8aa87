"""What is wrong in a compose file, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file. Line and column count from 1; 0 is unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return the place as editors read it."""
        return ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)])


class ComposeError(Exception):
    """A compose file, or a file that it names, cannot be used. The text names the file, its line and the key."""

    def __init__(self, place: Place, key: str, text: str) -> None:
        super().__init__(f"{place}: {key}: {text}" if key else f"{place}: {text}")
        self.place = place
        self.key = key
        self.text = text


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a reader should know, and that stops nothing."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.place}: {self.key}: {self.text}" if self.key else f"{self.place}: {self.text}"
