"""The whole program on one machine: Redis, worker, Flower and sandbox as processes that are kept running."""
