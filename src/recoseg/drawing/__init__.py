"""Labels, heat and captions in, pictures out: the colours and sheets people look at."""
