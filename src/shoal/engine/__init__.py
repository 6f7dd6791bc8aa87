"""The Docker Engine HTTP API: routes, JSON to protobuf and back. Knows HTTP, not how a swarm works."""
