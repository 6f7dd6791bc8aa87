"""The Docker Engine HTTP API: routes, and JSON to protobuf and back.

Owns the HTTP side of a call: versions, status codes, texts, shapes of JSON, streams. It does not know how a swarm
works: it asks `backend.node`, and never touches the store.
"""
