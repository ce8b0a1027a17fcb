"""How fast it is: real servers, workers and sockets, measured against the goals in goals.py."""
