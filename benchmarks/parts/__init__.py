"""The parts of a run: each measures one thing on the stage and returns plain figures."""
