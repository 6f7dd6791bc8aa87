"""One node's life in a swarm: made by init, ended by leave; its certificates; starts and stops its manager and its
agent, as SwarmKit's `node` package does."""
