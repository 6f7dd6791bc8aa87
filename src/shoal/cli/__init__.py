"""The `shoal` command, for what Docker's command cannot do. It only talks to `shoald`, over the Engine API."""
