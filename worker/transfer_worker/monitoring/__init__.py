"""Figures about transfers, workers and Redis, for people and for Prometheus."""
