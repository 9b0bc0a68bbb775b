"""Mosaics of every header, the north-up grid, windows, sources, cutouts: pixels, no network."""
