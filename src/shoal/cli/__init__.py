"""The `shoal` command: what Docker's command has no words for. Talks to `shoald` over its Engine API, and to nothing
else."""
