"""Lets the routing mesh of this node answer over IPv6. Blocking; the thread of `namespaces` uses it, in the host's.

The mesh itself is IPv4's: what comes over IPv6 is translated on arrival, and goes on as a connection of this node's.
"""

import logging
from collections.abc import Callable

from shoal.errors import ShoalError
from shoal.network.mesh.state import Mesh
from shoal.network.translation import translated
from shoal.network.translation.places import devices
from shoal.network.translation.translated import TranslatedPorts

log = logging.getLogger(__name__)


class Mesher6:
    """The ports of one node's mesh. `run` carries out a text of nft's language, and returns what nft prints."""

    def __init__(self, run: Callable[[str], str]) -> None:
        self._run = run
        self._ports: TranslatedPorts | None = None
        self._removed = False  # nothing stands, not of the run before either
        self._words = ""  # of the last failure to remove

    def apply(self, mesh: Mesh) -> None:
        """Make it so, after the mesh itself. What cannot be done is logged, and tried again by the next call."""
        if mesh.translation is None:
            self._have_none(mesh.tag)
            return
        self._removed = False
        if self._ports is None or self._ports.place != mesh.translation:
            self._ports = TranslatedPorts(mesh.table, mesh.translation, self._run)
        self._ports.apply(mesh.published)

    def _have_none(self, tag: str) -> None:
        if self._removed:
            return
        try:
            self.remove(tag)
            self._removed, self._words = True, ""
        except (OSError, ShoalError) as error:
            if str(error) != self._words:
                log.warning("what translated the routing mesh's IPv6 stays: %s", error)
            self._words = str(error)

    def remove(self, tag: str) -> None:
        """Remove a node's. May be repeated. OSError, ShoalError."""
        self._ports = None
        _, device = devices(tag)
        translated.remove(f"shoal_{tag}_mesh", device, self._run)
