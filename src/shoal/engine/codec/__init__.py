"""Turns Docker's JSON into Swarm's messages and back. One declaration serves both ways.

`kinds` are single values, `message` puts them together as fields of a message; the other modules are the declarations.
Names, and which fields are left out when they are empty, follow moby api/types/swarm and daemon/cluster/convert.
"""
