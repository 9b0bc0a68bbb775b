"""Where lensweep runs: opening a Dask cluster. Knows nothing of lenses."""
