"""Embeddings that others made in, an index out; and an index in, their form out."""
