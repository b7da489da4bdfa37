#!/bin/sh
# A daemon that is killed each second under libgram and the Python package (restarts.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" restarts.py "$@"
