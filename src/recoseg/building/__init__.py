"""Words and photos in, reference embeddings out (steps 3 to 8 of the method)."""
