"""Files as bytes: written with a digest, read with bounds, from wherever they come. Knows torch and numpy alone."""
