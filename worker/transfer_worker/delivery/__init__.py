"""One transfer, from its message to its outcome: decided here, carried out by way of ports."""
