"""The log broker: passes the logs that a client asks for from the nodes that have them. Stores no logs."""
