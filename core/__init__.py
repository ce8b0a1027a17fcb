"""The kernel: the way of a job from submit to result."""
