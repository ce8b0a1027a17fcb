"""Machines that are reached over SSH, from the terminal: python3 server.py deploy ADDRESS, and deploy ACTION NAME."""


def main(words: list[str]) -> int:
    raise NotImplementedError
