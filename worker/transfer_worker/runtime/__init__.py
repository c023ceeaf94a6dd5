"""How a worker is put together, checked before it starts, and kept running."""
