"""Finite decision processes, exactly: soft values, both objectives, the learned temperature."""
