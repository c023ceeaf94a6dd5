"""Figures about transfers, workers and Redis, for people, in Flower and for Prometheus."""
