"""Shoal: Docker's Swarm mode, written again in Python."""

from shoal import groups as groups

__version__ = "0.1.0"
