"""Port 2377: accepts connections, enforces limits, finds out who calls and what the caller may do. Services answer."""
