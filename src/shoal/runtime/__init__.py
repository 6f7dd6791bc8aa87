"""OCI containers under conmon, images, volumes, exec, health probes, stats. Knows nothing of a swarm."""
