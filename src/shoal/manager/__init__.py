"""The manager's side: Control, Dispatcher, CA and log servers, and the deciders that a leader runs. Runs no
containers."""
