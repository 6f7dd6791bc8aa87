"""The composition root: flags, paths, wiring, signals. Holds no logic."""
