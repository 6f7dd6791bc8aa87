"""Tells from a node's description what kind of engine the node runs.

A Docker Engine can be a worker of a Shoal swarm but not a manager, because managers share a store and Docker's is
another. A node that can be a manager says so with an entry in its list of plugins; Docker's managers and clients ignore
the entry.
"""

from shoal.api import v1 as api

MANAGER_PLUGIN = ("Manager", "shoal")


def can_manage(description: api.NodeDescription) -> bool:
    """Return whether a node with this description can be a manager."""
    return any((plugin.type, plugin.name) == MANAGER_PLUGIN for plugin in description.engine.plugins)
