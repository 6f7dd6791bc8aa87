"""`shoald`, the daemon: reads flags, makes the parts and connects them, handles signals. It has no logic of a swarm."""
