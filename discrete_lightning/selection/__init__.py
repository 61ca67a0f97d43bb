"""Selection: which features of a table are on and which are off, in plain PyTorch."""
