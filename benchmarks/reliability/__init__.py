"""Whether a mistake is answered: wrong command lines, files and configs."""
