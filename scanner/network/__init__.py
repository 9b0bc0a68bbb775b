"""The ensemble: bundle format, loading, stretch, inference, screen, second looks."""
