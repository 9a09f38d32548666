"""A folder of photos in, a searchable table of their embeddings out (step 2 of the method)."""
