"""The routing mesh: published ports on every node, the client's own address kept."""
