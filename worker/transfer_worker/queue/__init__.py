"""Celery and kombu: how a message comes off the queue, and what is done with one that can't be served."""
