"""The Lightning part of the text family."""
