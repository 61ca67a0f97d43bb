"""What routers' gradients are worth, and what mixtures cost."""
