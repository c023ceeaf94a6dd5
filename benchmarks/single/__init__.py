"""Programs that answer one question each, called by name; no part of a run."""
