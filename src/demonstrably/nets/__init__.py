"""Building blocks with a leading member axis."""
