"""Docker's JSON and Swarm's messages, each way from one declaration.

`kinds` are single values, `message` puts them together as fields of a message; the other modules are the declarations.
Names, and which fields are left out when they are empty, follow moby api/types/swarm and daemon/cluster/convert.
"""
