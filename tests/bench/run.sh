#!/usr/bin/env bash
# Measures what the documents state, as ratios within one run. Prints a table, and JSON last.
#
#   ./tests/bench/run.sh                 everything but the largest (about five minutes, 12 GB of disk)
#   ./tests/bench/run.sh --large         also 6 sites with a 3.35 GB model (moves 40 GB, needs 55 GB of disk)
#   ./tests/bench/run.sh --peer          `simulation` beside Flower's simulation of the same federation (from PyPI, 1 GB)
#   ./tests/bench/run.sh NAME...         only these: mean robust simulation memory transfer round small growth polls site
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
"$top/deploy/install-packages.sh" test
[ -x "$top/.venv/bin/python" ] || { /usr/bin/python3 -m venv "$top/.venv" && "$top/.venv/bin/pip" install -q -r "$top/tests/requirements.txt"; }
if [[ " $* " == *" --peer "* ]]; then
    export ROUNDS_PEER=$top/.venv-peer/bin/python
    cmp -s "$top/tests/requirements-peer.txt" "$top/.venv-peer/installed" || {
        /usr/bin/python3 -m venv --clear "$top/.venv-peer"
        "$top/.venv-peer/bin/pip" install -q -r "$top/tests/requirements-peer.txt"
        cp "$top/tests/requirements-peer.txt" "$top/.venv-peer/installed"
    }
fi
export ROUNDS_BUILD=${ROUNDS_BUILD:-$top/build}
cmake -S "$top" -B "$ROUNDS_BUILD" -G Ninja -DROUNDS_TESTS=ON > /dev/null # also where the quick start made it, without the tests
ninja -C "$ROUNDS_BUILD" --quiet
PYTHONPATH=$top/tests exec "$top/.venv/bin/python" "$top/tests/bench/run.py" "$@"
