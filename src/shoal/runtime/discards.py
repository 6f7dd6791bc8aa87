"""Removes a container's files: its bundle and its folder.

In: a container's id and folder. If files cannot be removed now (no descriptor is free, something is still mounted), the
next removal tries them again, and so does the daemon's next start.
"""

import logging
from pathlib import Path

from shoal.errors import ShoalError
from shoal.runtime import bundle, confined

log = logging.getLogger(__name__)

REMOVING = ".removing"
"""The ending of a folder's name that marks it for removal. If the daemon ends before, its next start removes it."""


class Discards:
    """Removes containers' files, and remembers what could not be removed yet. Blocking; for several threads."""

    def __init__(self, site: bundle.Site) -> None:
        self._site = site
        self._left: dict[str, Path] = {}

    def discard(self, id: str, folder: Path) -> None:  # noqa: A002 - a container's id
        """Remove all files of a container, and those that earlier calls could not remove.

        Raises OSError or ShoalError if this container's files could not be removed; the next call tries them again.
        """
        going = folder.with_name(folder.name + REMOVING)
        try:
            folder.rename(going)
        except FileNotFoundError:
            pass
        self._left[id] = going
        self._remove(id)
        for other in tuple(self._left):
            try:
                self._remove(other)
            except (OSError, ShoalError) as error:
                log.warning("what is left of container %s cannot be removed yet: %s", other[:12], error)

    def _remove(self, id: str) -> None:  # noqa: A002
        going = self._left.pop(id, None)
        if going is None:
            return  # another thread removes it
        try:
            bundle.remove(self._site, id)
            if going.exists():
                confined.remove_tree(going)
        except (OSError, ShoalError):
            self._left[id] = going
            raise
