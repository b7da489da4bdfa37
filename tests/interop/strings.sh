#!/bin/sh
# Session strings of the real libraries, both ways (strings.py). Their environments in $VENVS are made if they are missing,
# or if they have other versions. With MTKRUTO, the folder of MTKruto's package for Node.js, it takes part.
set -eu
SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
vectors=$SOURCE/tests/proto/vectors
environment=$VENVS/strings
if ! cat "$vectors/npm.txt" "$vectors/pip.txt" | cmp -s - "$environment/packages"; then
        rm -rf "$environment"
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$vectors/pip.txt" msgpack
        echo '{}' >"$environment/package.json"
        # shellcheck disable=SC2046 # a list of words
        (cd "$environment" && npm install --silent --ignore-scripts --no-audit --no-fund $(cat "$vectors/npm.txt"))
        cat "$vectors/npm.txt" "$vectors/pip.txt" >"$environment/packages"
fi
cp "$vectors/make.mjs" "$environment"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$SOURCE/client-lib/python exec "$environment/bin/python" \
        "$SOURCE/tests/interop/strings.py" "$environment" "$vectors" "$@"
