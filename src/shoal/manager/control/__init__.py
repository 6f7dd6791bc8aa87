"""Control: what people ask of the swarm, checked and written to the store.

Owns the RPCs of `docker.swarmkit.v1.Control`, one module a resource, with Docker's own checks, order and texts. In
come the API's messages, out go its replies or errors of `shoal.errors`. Nothing is decided here of what a service needs
to run, and nothing of HTTP is known.
"""

from shoal.manager.control.base import Membership, SoleManager
from shoal.manager.control.clusters import Clusters
from shoal.manager.control.networks import Networks
from shoal.manager.control.nodes import Nodes
from shoal.manager.control.refused import Configs, Resources, Secrets, Volumes
from shoal.manager.control.services import Services
from shoal.manager.control.tasks import Tasks

__all__ = ["Control", "Membership", "SoleManager"]


class Control(Services, Tasks, Nodes, Clusters, Networks, Secrets, Configs, Volumes, Resources):
    """Every RPC of Control as an async method in snake case, from request message to response message."""
