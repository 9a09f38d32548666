"""An image and a distilled network in, a label map out: inference of ReCo+ (step 11)."""
