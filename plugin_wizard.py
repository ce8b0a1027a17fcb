#!/usr/bin/env python3
"""Writes a new plugin: asks a few questions, or takes their answers as flags."""

import sys

from core.ops import bootstrap

if __name__ == "__main__":
    bootstrap.ensure([bootstrap.ROOT / "requirements.lock"])
    from core.ops.wizard.asking import main

    sys.exit(main())
