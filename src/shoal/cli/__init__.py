"""The `shoal` command. Talks to the Engine API alone."""
