"""Namespaces, bridges and packet rules of this host. Knows nothing of orchestration."""
