"""Carries the traffic between the managers' etcds, in a process of its own, and refuses what an etcd may not send."""
