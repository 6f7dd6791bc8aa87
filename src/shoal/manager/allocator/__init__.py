"""Gives a task what it needs before a node is chosen, such as addresses and ports. So far there is nothing to give.

`tasks.Allocator` is the decider. The allocator knows nothing about nodes or drivers.
"""
