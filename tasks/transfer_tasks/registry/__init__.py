"""Where a call may go: the named destinations, and the rules for all others."""
