"""The composition root: flags, paths, wiring, signals. Holds no logic."""

from shoal.daemon import loading as loading  # before anything that imports aiohttp
