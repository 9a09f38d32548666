"""Concepts, banks of concepts, and the bank's file format."""
