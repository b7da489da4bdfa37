#!/bin/sh
# Talks to gramd with a MessagePack-RPC client that is independent of this project. The client's Python environment in
# $VENVS is made if it is missing, or if it has other versions.
set -eu
packages="pynvim==0.6.0 msgpack==1.2.4 greenlet==3.5.6"
environment=$VENVS/foreign-rpc
if [ "$(cat "$environment/packages" 2>/dev/null)" != "$packages" ]; then
        rm -rf "$environment"
        python3 -m venv "$environment"
        # shellcheck disable=SC2086 # a list of words
        "$environment/bin/pip" install --quiet --disable-pip-version-check $packages
        echo "$packages" >"$environment/packages"
fi
exec "$environment/bin/python" "$SOURCE/tests/interop/foreign_rpc.py"
