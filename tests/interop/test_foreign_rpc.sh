#!/bin/sh
# A MessagePack-RPC client that this project did not write talks to gramd. It lives in a Python environment in $VENVS,
# made when it is missing or other versions are asked for.
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
