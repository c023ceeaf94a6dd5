"""The platform's webhooks, received: whether anybody picked up, matched to a transfer and put on record."""
