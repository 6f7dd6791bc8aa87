"""What kind of engine a node runs, as far as its description tells.

A Docker Engine can be a worker of ours and no manager: managers share one store, and it has another. Nodes that can
manage say so by an entry in their list of plugins, which Docker's managers and clients pass over.
"""

from shoal.api import v1 as api

MANAGER_PLUGIN = ("Manager", "shoal")


def can_manage(description: api.NodeDescription) -> bool:
    """Return whether a node that describes itself so can be a manager."""
    return any((plugin.type, plugin.name) == MANAGER_PLUGIN for plugin in description.engine.plugins)
