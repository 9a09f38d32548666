"""Concepts as values: name, text vector, reference embedding, evidence; and the bank's file."""
