"""Files in, pixels and bytes out: images, archives of images, and writing that survives a crash."""
