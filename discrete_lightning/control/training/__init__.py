"""The Lightning part of the control family."""
