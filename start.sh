#!/bin/sh
# Starts the server on a double click; the window stays open if that fails.
cd "$(dirname "$0")" || exit 1
for python in python3 python; do
    if command -v "$python" >/dev/null 2>&1; then
        "$python" server.py "$@"
        code=$?
        break
    fi
done
if [ -z "$code" ]; then
    echo "stable-core needs Python 3.10 or newer: python.org/downloads, or your system's package manager." >&2
    code=1
fi
# 130: stopped with Ctrl-C
if [ "$code" -ne 0 ] && [ "$code" -ne 130 ] && [ -t 0 ]; then
    printf 'Press Enter to close this window. '
    read -r _
fi
exit "$code"
