#!/bin/sh
# Prints the first Python that can make the kit's environment: 3.11 to 3.14, with venv and ensurepip.
# With an argument, only that one is asked. Each is run, not only looked up: a pyenv shim may exist and yet fail.
[ -n "${1:-}" ] || set -- python3.13 python3.12 python3.11 python3.14 python3 python

incomplete=
for python in "$@"; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || continue
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python"
        exit
    fi
    incomplete=${incomplete:-$python}
done

if [ -n "$incomplete" ]; then
    echo "$incomplete cannot make an environment, for it lacks venv or ensurepip: install them" \
        "(Debian and Ubuntu: apt-get install python3-venv) or name another Python, as in: make lab PYTHON=/path/to/python" >&2
elif [ $# -eq 1 ]; then
    echo "PYTHON=$1 is no Python from 3.11 to 3.14 that runs: name another, or leave PYTHON out and the set-up looks for one." >&2
else
    echo "The kit needs Python 3.11 to 3.14 and found none: install one, or name it, as in: make lab PYTHON=/path/to/python" >&2
fi
exit 1
