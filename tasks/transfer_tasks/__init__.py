"""What may be asked, and how to ask: the side of the house that a voice process installs."""
