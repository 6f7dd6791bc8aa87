"""Shoal: Docker's Swarm mode, written again in Python."""

__version__ = "0.1.0"
