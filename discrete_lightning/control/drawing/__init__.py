"""Pictures of environments, drawn with pillow: no display is needed."""
