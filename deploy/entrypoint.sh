#!/bin/sh
# Secrets by reference: for each FROM_FILE_NAME of the environment, NAME becomes what the file holds. Then the command.
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
exec "$@"
