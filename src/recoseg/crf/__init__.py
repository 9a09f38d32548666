"""Scores and an image in, sharpened probabilities out: the dense CRF (step 10 of the method)."""
