"""Programs that use the server through its socket, as anybody's could."""
