"""ReCo+: a small network learnt from a segmenter's labels of unlabelled images (step 11)."""
