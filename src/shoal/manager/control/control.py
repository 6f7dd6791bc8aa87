"""The leader's Control. It hands each RPC to the part that answers it; there is one part for each resource.

In: the store, and what else the parts need. Out: `Control`, whose RPCs are in `rpcs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api.ids import new_id
from shoal.ca.tokens import new_kek
from shoal.errors import InvariantBroken
from shoal.manager.control.clusters import Clusters
from shoal.manager.control.configs import Configs
from shoal.manager.control.membership import Membership
from shoal.manager.control.networks import Networks
from shoal.manager.control.nodes import Nodes
from shoal.manager.control.resources import Resources
from shoal.manager.control.root_change import ExternalCAs
from shoal.manager.control.rpcs import ControlRpcs, Part, Reply, Request, Rpc
from shoal.manager.control.secrets import Secrets
from shoal.manager.control.services import Services
from shoal.manager.control.tasks import Tasks
from shoal.manager.control.validate_service import Expand, unexpanded
from shoal.manager.control.volumes import Volumes

if TYPE_CHECKING:
    from shoal.store.store import Store


class Control(ControlRpcs):
    """Answers every RPC from the store.

    `clock` returns seconds since 1970. `expand` fills in the placeholders of a container's spec; it is the agent's own
    function, so that both find the same mistakes. `external` reaches external CAs; without it no external CA can be
    reached.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        clock: Callable[[], float],
        new_id: Callable[[], str] = new_id,
        new_unlock_key: Callable[[], bytes] = new_kek,
        expand: Expand = unexpanded,
        external: ExternalCAs | None = None,
    ) -> None:
        parts = (
            Services(store, clock, new_id, expand),
            Tasks(store),
            Nodes(store, membership, clock),
            Clusters(store, clock, new_unlock_key, external),
            Networks(store, new_id),
            Secrets(store, new_id),
            Configs(store, new_id),
            Volumes(),
            Resources(),
        )
        self._parts: dict[type, object] = {type(part): part for part in parts}

    async def carry_out(self, rpc: Rpc[Part, Request, Reply], request: Request) -> Reply:
        """Let the part of this RPC answer it."""
        part = self._parts[rpc.part]
        if not isinstance(part, rpc.part):
            raise InvariantBroken(f"{rpc.name} has no part that answers it")
        return await rpc.method(part, request)
