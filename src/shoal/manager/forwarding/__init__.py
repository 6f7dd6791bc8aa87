"""Calls that only the leader can answer: every manager takes them, and sends them on unless it leads itself."""
