"""What transfers cost a voice process: `make bench-voice`, in the environment of the agent SDK."""
