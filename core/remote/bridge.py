"""A Ray actor that runs one worker on its node, and carries the bytes between it and the server through Ray's calls."""
