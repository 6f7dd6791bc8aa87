"""OCI containers under conmon, images, volumes, exec, health probes, stats. The runtime knows nothing about swarms."""
