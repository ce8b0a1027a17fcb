"""What runs the server: settings, install, environments, processes, memory."""
