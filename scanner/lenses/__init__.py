"""What became of known lenses: recall, grades."""
