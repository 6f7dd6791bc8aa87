"""The worker's side of a node: its session with a manager, the state machine of each task, status reports, logs.

The agent does not decide where tasks run."""
