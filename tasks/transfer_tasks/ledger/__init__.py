"""The record of every transfer: its keys, its states, one Lua script for each transition."""
