"""What operators do to transfers, to one or to many: settle, withdraw, ask again; which, and how fast."""
