"""Unlabelled photos in, a segmenter of unnamed clusters out: the systems ReCo is compared with."""
