"""The log broker: passes logs from the nodes that have them to the clients that ask for them. It stores no logs."""
