"""The named destinations: where each leads, how long it rings, how often it may be asked for."""
