"""The `shoal` command, for what Docker's command cannot do. It speaks to `shoald` alone, over the Engine API."""
