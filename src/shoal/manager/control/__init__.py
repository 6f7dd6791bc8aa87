"""Control: checks what users ask of the swarm, and writes it to the store.

Owns the RPCs of `docker.swarmkit.v1.Control`, one module for each resource, with Docker's checks, order and texts. In:
the API's messages; out: replies, or errors of `shoal.errors`. `rpcs` is the typed table of all RPCs, which callers, the
leader's `Control` and the forwarding to it share. Control does not decide which tasks a service needs, and knows
nothing about HTTP.
"""

from shoal.manager.control.control import Control
from shoal.manager.control.membership import Membership, SoleManager
from shoal.manager.control.rpcs import ControlRpcs

__all__ = ["Control", "ControlRpcs", "Membership", "SoleManager"]
