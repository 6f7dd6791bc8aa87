"""The Docker Engine HTTP API: routes, and JSON to protobuf and back.

Owns what a call means in HTTP: versions, status codes, texts, shapes of JSON, streams. Knows nothing of how a swarm
works: it asks `backend.node` for that, and never touches the store.
"""
