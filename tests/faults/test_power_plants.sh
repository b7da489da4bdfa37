#!/bin/sh
# Faults that are planted below the daemon (power.py, PLANTS): the checker of the power cuts must find each.
exec "$SOURCE/tests/faults/side_by_side.sh" '--show 1 --plant file-syncs' \
        '--show 1 --plant file-syncs --fsync everysec --seconds 3' '--show 1 --plant directory-syncs' \
        '--show 1 --plant forgotten --failed-syncs' '--show 1 --plant refused --cuts 60'
