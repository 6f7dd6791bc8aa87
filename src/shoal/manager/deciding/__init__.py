"""How deciders run: their interface, running several on one transaction, the loop around them, and a leader's term."""
