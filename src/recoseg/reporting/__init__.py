"""Pages that a person reads: benchmark reports, the quality of a bank, galleries and plots."""
