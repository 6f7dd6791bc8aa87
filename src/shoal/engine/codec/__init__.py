"""Turns Docker's JSON into Swarm's messages and back, with one declaration for both directions.

`kinds` has single values, `message` combines them as fields of a message, and the other modules are the declarations.
Source of the names, and of which empty fields are left out: moby api/types/swarm, daemon/cluster/convert.
"""
