"""The log broker: who wants which logs, which nodes have them, and the way from the one to the other. Keeps no logs."""
