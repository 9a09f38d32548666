"""An index in, a vector server that answers for it out."""
