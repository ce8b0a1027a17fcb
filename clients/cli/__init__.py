"""The command line, `python3 -m clients.cli`: the SDK for people and scripts, made from what the server announces."""
