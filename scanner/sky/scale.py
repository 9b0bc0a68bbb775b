"""The scale that ensembles are trained and mosaics are scanned at: HLA's ACS/WFC drizzles'."""

CUTOUT_SIZE = 100
PIXEL_SCALE_ARCSEC = 0.05
