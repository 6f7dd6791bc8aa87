"""NetworkDB as Docker Engine speaks it: which node is on which network, and the tables that its nodes share.

Pure: bytes and the time in, bytes and changes out; memberlist carries them. Knows nothing of what values mean, but for
two of Docker's habits in `own.py`. Source: moby/libnetwork networkdb/, as in gossip.md sections 2 and 3.
"""
