"""Hosts for tests, demos and benchmarks: network namespaces with a `shoald` in each, and nothing left afterwards."""
