#!/bin/sh
# Install curier from its source into a virtual environment: install.sh SOURCE TARGET. Where the source has all wheels
# in dist/wheels (`pip wheel -w dist/wheels`), nothing is fetched and nothing compiled.
set -eu
source=$1 target=$2
offline=
if ls "$source"/dist/wheels/curier-*.whl >/dev/null 2>&1; then
    offline="--no-index --find-links $source/dist/wheels"
    what=curier
else
    what=$source
    command -v cc >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev; }
fi
python3 -m venv "$target"
# shellcheck disable=SC2086  # several words, or none
"$target/bin/python" -m pip install --quiet --no-cache-dir $offline "$what[full]"
"$target/bin/python" -m pip uninstall --quiet --yes pip setuptools 2>/dev/null || true
"$target/bin/curier" --version
