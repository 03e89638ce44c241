"""Models as graphs that run without torch: made, made small, and held against the original before anyone sees them."""
