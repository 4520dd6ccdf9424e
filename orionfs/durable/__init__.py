"""What survives the daemon: the journal and its tables."""
