"""How deciders run: what one looks like, several on one transaction, the loop that feeds them, a leader's term."""
