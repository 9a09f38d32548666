"""A function and blocks of work in, their results in order out, worked on by a Ray cluster."""
