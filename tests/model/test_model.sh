#!/bin/sh
# The model of the ownership protocol (backends/OWNERSHIP.md): compiles it for each number of hosts, sessions and ticks in
# a term, and searches. `test_model.sh long` (make model) adds the scopes that take minutes.
set -eu
source=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

sizes='2,1,3 2,1,2 2,1,1 3,1,1'
[ "${1:-}" != long ] || sizes="$sizes 3,1,2 2,2,1"
for size in $sizes; do
        IFS=, read -r hosts sessions term <<SIZE
$size
SIZE
        "${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -DHOSTS="$hosts" \
                -DSESSIONS="$sessions" -DTERM="$term" -o "$work/model" "$source"/*.c
        echo "-- $hosts hosts, sessions: $sessions, ticks in a term: $term"
        "$work/model" "${1:-short}" || status=1
done
exit $status
