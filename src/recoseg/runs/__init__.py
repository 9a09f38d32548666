"""Many images in, one folder of results out, resumable."""
