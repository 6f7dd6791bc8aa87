"""Network namespaces, bridges and packet rules of this host. Knows nothing of services and tasks."""
