"""Which nodes are managers, which of those are reachable, and when one may join or be removed."""
