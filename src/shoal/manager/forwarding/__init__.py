"""Calls that only the leader can answer. Every manager accepts them and, unless it leads, forwards them."""
