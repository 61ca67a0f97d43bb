"""What a config may hold: texts of bounded size, paths of harmless classes, no secrets that would be written down."""
