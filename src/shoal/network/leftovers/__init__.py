"""Packet rules that nobody answers for any more: a Docker Engine's that is gone, and another Shoal's.

Owns the decision whose they are and their removal. Rules of anybody else, and of an engine that runs, are never
touched.
"""
