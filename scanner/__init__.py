"""Mosaic to cutouts to scores to candidates: everything that one scan does."""
