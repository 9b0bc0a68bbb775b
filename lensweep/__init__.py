"""lensweep: find strong gravitational lenses in Hubble I-band (F814W) mosaics."""
