#!/bin/sh
# A disk whose syncs fail or are slow (outages.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" outages.py "$@"
