"""How much one project may read and become, whatever its files do: all that grows is counted here.

Small files can ask for much: aliases of aliases, one large file that a thousand services name, a large service that a
thousand others extend.
"""

from dataclasses import dataclass

from shoal.compose.errors import ComposeError, Place
from shoal.compose.node import Node
from shoal.compose.project import Files

MAX_FILES = 1000  # that one project reads, each as often as it is read
MAX_BYTES = 16 * 1024 * 1024  # of all of them together
# Values in all files, with copies of those that are named several times. A thousand services have some 30,000.
MAX_VALUES = 200_000


@dataclass(slots=True)
class Limits:
    """Reads files, and counts what comes of them."""

    files: Files
    files_left: int = MAX_FILES
    bytes_left: int = MAX_BYTES
    values_left: int = MAX_VALUES

    def content(self, path: str, longest_bytes: int, named: Node | None, key: str) -> bytes:
        """Return the content of a file that a node names. Raises ComposeError, at the node."""
        place = named.place if named is not None else Place(path)
        self.files_left -= 1
        if self.files_left < 0:
            raise ComposeError(place, key, f"more than {MAX_FILES:,} files are read")
        try:
            content = self.files.read(path, longest_bytes)
        except (OSError, ValueError) as error:  # a ValueError is a path with a NUL
            why = getattr(error, "strerror", None) or str(error)
            what = f"{path} cannot be read" if named is not None else "cannot be read"
            raise ComposeError(place, key, f"{what}: {why[:1].lower() + why[1:]}") from error
        if len(content) > longest_bytes:
            raise ComposeError(place, key, f"{path} has more than {longest_bytes:,} bytes")
        self.bytes_left -= len(content)
        if self.bytes_left < 0:
            raise ComposeError(place, key, f"the files together have more than {MAX_BYTES:,} bytes")
        return content

    def count(self, values: int, place: Place, key: str = "") -> None:
        """Count values that a project has. Raises ComposeError when there are too many."""
        self.values_left -= values
        if self.values_left < 0:
            raise ComposeError(place, key, f"there are more than {MAX_VALUES:,} values up to here, copies included")
