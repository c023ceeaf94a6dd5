"""How fast, against the floor and every peer: `make bench`, or `python -m benchmarks --help`."""
