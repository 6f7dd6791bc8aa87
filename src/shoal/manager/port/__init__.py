"""Port 2377: accepts connections, enforces limits, identifies callers and checks what they may call."""
