#!/bin/sh
# Secrets by reference: for each FROM_FILE_NAME of the environment, NAME becomes what the file holds.
# With WAIT_FOR, a URL, it waits until something answers there. Then the command.
set -eu

file=""
for name in $(env | sed -n 's/^FROM_FILE_\([A-Z0-9_]*\)=.*/\1/p'); do
  eval "file=\${FROM_FILE_${name}}"
  if [ ! -r "$file" ]; then
    echo "goms: needed the secret ${name}; found no readable file ${file}; in FROM_FILE_${name}; mount it" >&2
    exit 2
  fi
  export "${name}=$(cat "$file")"
  unset "FROM_FILE_${name}"
done

if [ -n "${WAIT_FOR:-}" ]; then
  tries=90
  until "$(dirname "$0")/healthy.py" "$WAIT_FOR" 2>/dev/null; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
      echo "goms: needed an answer; found none in three minutes; at ${WAIT_FOR}; look at that service" >&2
      exit 6
    fi
    sleep 2
  done
  unset WAIT_FOR
fi
exec "$@"
