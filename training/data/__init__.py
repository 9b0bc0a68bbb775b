"""Labelled sets of cutouts: simulated, painted, collected, mined; folds and augmentation."""
