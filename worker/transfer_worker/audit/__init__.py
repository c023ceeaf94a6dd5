"""What is told of each transfer: the outbox to file and stdout, the log, and its form for a terminal."""
