"""Beside the kernel: what it leans on, and what else people can ask for."""
