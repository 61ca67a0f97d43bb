"""Several environments that are stepped together, in torch or in gymnasium, in one form."""
