"""What both `network` and `runtime` need from this host: system calls, programs, events. It imports neither of them."""
