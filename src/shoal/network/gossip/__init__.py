"""memberlist as Docker Engine runs it: who is in the swarm's network and alive, and small messages to all of them.

Pure but for `server`. What stands in the small messages is the business of the `delegate`, NetworkDB. Reference:
gossip.md, section 1.
"""
