"""The finders that the thesis names, each as a scikit-learn estimator: cutouts in, scores out."""
