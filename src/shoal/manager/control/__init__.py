"""Control: what people ask of the swarm, checked and written to the store.

Owns the RPCs of `docker.swarmkit.v1.Control`, one module a resource, with Docker's own checks, order and texts. In
come the API's messages, out go its replies or errors of `shoal.errors`. `rpcs` is the table of all of them, by which
callers, the leader's `Control` and the way to it are checked. Nothing is decided here of what a service needs to run,
and nothing of HTTP is known.
"""

from shoal.manager.control.control import Control
from shoal.manager.control.membership import Membership, SoleManager
from shoal.manager.control.rpcs import ControlRpcs

__all__ = ["Control", "ControlRpcs", "Membership", "SoleManager"]
