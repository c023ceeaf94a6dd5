"""The record as the worker uses it: the steps of one transfer, and recovery of those that nobody holds."""
