"""etcd's bytes between managers, in a process of its own, and what etcds may say to one another."""
