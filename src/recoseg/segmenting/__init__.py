"""An image and a concept bank in, a label map out (steps 9 and 10 of the method)."""
