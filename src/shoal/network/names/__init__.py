"""Names at 127.0.0.11 in each container's network namespace, as Docker's embedded resolver answers them.

These decide without I/O: `questions` reads what a container asks. `answers` answers it from the directory, or says that
it is to be asked outside. `upstream` says whom to ask outside, and which reply counts. `limits` says how much one
container may ask. These do the I/O: `server` answers all sandboxes on one loop, with `sockets` that were opened inside
their namespaces, and `outside` asks with sockets in the host's.
"""
