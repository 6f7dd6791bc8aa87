"""What both `network` and `runtime` need of this host: system calls, programs, events. Imports neither of them."""
