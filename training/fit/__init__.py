"""From cutouts to members: backbones, heads, folds, calibration, the bundle."""
