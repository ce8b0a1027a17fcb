#!/bin/sh
# Says what is wrong with index.json. Entries that the branch BASE has already must be what they were; all others are
# fetched and compared with what they say. Nothing of a plugin is run. STABLE_CORE is a clone of stable-core.
set -eu
base=$(mktemp)
trap 'rm -f "$base"' EXIT
git show "${BASE:-origin/main}:index.json" > "$base"
python3 "${STABLE_CORE:-stable-core}/server.py" plugins index check index.json --fetch --base "$base"
