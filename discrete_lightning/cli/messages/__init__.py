"""What the command line says of mistakes: one line with what was given, where, what is right and the next step."""
