"""Score predictions against masks: protocols, metrics, systems, ablations, purity."""
