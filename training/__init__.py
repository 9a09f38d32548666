"""Scripts that make the data the package ships; they are not part of the wheel."""
