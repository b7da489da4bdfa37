#!/bin/sh
# Faults that are planted in the network, the clock or the clients of one host (plants.py): the checker must find each.
exec "$SOURCE/tests/machines/test_machines.sh" --prove
