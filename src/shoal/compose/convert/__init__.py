"""From a compose project to what the Engine API takes: specs of services, networks, secrets and configs, as JSON.

The same as Docker's `stack deploy` sends, and what that leaves out (docs/compatibility.md).
Source: docker/cli cli/compose/convert.
"""
