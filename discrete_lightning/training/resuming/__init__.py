"""What a run needs to go on as if it had never been cut, part by part; `ExactResume` puts the parts together."""
