"""What operators look up and change, as plain values that others show."""
