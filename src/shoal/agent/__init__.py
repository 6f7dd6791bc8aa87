"""The worker's side: the session with a manager, the state machine of each task, status reports, logs out. Does not
decide where tasks run."""
