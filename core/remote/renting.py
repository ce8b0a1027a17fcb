"""Machines for rent, from the terminal: deploy runpod|vast --gpu ..., and deploy search runpod|vast ..."""

import argparse


def add_all(actions: "argparse._SubParsersAction") -> None:
    """runpod, vast and search, each with a `run`, which is called with (arguments, config)."""
    raise NotImplementedError
