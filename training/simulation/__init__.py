"""Lenses, and all that is taken for one, as Hubble would see them."""
