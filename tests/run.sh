#!/usr/bin/env bash
# Installs what the tests need, builds everything, runs all of it, and prints the counts last: "N passed, N failed".
#
#   ./tests/run.sh            everything (about twenty-five minutes on two cores)
#   ./tests/run.sh PART...    only these parts: style unit fuzz integration browser faults address thread quickstart
#   ./tests/run.sh pictures   takes the pictures of README.md and web/README.md anew
#   ./tests/run.sh long       what is too large for every run: TensorBoard, MLflow and PyTorch from PyPI (6 GB); numbers under sanitizers
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
parts=${*:-style unit fuzz integration browser faults address thread quickstart}
out=$top/build/tests
mkdir -p "$out"
passed=0 failed=0

# Tests at a time, on two cores: most of them wait more than they work, those of faults much more (for a lease to end, for a program
# that is called off).
some=(-n 3 --dist worksteal) more=(-n 4 --dist worksteal)

say() { printf '\n== %s\n' "$*"; }
wanted() { [[ " $parts " == *" $1 "* ]]; }

# One check that is a command: its output is shown if it fails.
check() { # name command...
    local name=$1
    shift
    if "$@" > "$out/$name.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        tail -n 40 "$out/$name.log"
    fi
}

# A program of cmocka tests, or a run of pytest: their own counts are added.
unit_tests() { # folder with the programs
    local programs program log code good bad
    mapfile -t programs < <(find "$1/tests/unit" -maxdepth 1 -type f -executable -name '*_test_*' | sort)
    [ ${#programs[@]} -gt 0 ] || failed=$((failed + 1))
    printf '%s\0' "${programs[@]}" | out=$out xargs -0 -r -n 1 -P 2 bash -c 'log=$out/${0##*/}.log; "$0" > "$log" 2>&1; echo $? > "$log.code"'
    for program in "${programs[@]}"; do
        log=$out/$(basename "$program").log
        code=$(cat "$log.code")
        good=$(grep -c '^\[       OK \]' "$log")
        bad=$(grep -c '^\[  FAILED  \] [a-z_]*$' "$log")
        [ "$code" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
        passed=$((passed + good)) failed=$((failed + bad))
        echo "$(basename "$program"): $good passed, $bad failed"
        [ "$bad" -eq 0 ] || tail -n 40 "$log"
    done
}
pytests() { # name build folder, then pytest's arguments
    local name=$1 build=$2 xml=$out/$1.xml
    shift 2
    rm -f "$xml"
    ROUNDS_BUILD=$build "$python" -m pytest -q -p no:cacheprovider --durations=5 --junitxml="$xml" "$@" 2>&1 | tail -n 60
    read -r good bad < <("$python" - "$xml" << 'PY'
import sys, xml.etree.ElementTree as tree
try:
    suite = tree.parse(sys.argv[1]).getroot()[0].attrib
    tests, bad, skipped = (int(suite[key]) for key in ("tests", "failures", "skipped"))
    bad += int(suite["errors"])
    print(tests - bad - skipped, bad if tests else 1)
except Exception:
    print(0, 1)
PY
    )
    passed=$((passed + good)) failed=$((failed + bad))
    echo "$name: $good passed, $bad failed"
}

build() { # folder, what of it, then cmake's options
    local folder=$1 what=$2
    shift 2
    # Always: the quick start may have made this folder, without the tests.
    cmake -S "$top" -B "$folder" -G Ninja "$@" > "$out/cmake.log" 2>&1 || { cat "$out/cmake.log"; return 1; }
    ninja -C "$folder" --quiet "$what"
}

say "Installing"
deploy/install-packages.sh run web test || exit 1
have_venv() { # folder, what it needs
    cmp -s "$2" "$1/installed" && return
    /usr/bin/python3 -m venv --clear "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check -r "$2" || exit 1
    cp "$2" "$1/installed"
}
have_venv "$top/.venv" tests/requirements.txt
python=$top/.venv/bin/python
if ! cmp -s tests/package-lock.json tests/node_modules/.installed; then
    (cd tests && npm ci --silent --no-audit --no-fund) || exit 1
    cp tests/package-lock.json tests/node_modules/.installed
fi

say "Building"
check dashboard deploy/build-dashboard.sh
check build-release build "$top/build" all -DROUNDS_TESTS=ON
if wanted address || wanted style || wanted unit; then
    check build-clang-address build "$top/build-address" all -DROUNDS_TESTS=ON -DROUNDS_SANITIZE=address \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang
fi
if wanted thread; then
    check build-thread build "$top/build-thread" all -DROUNDS_TESTS=ON -DROUNDS_SANITIZE=thread -DCMAKE_BUILD_TYPE=Debug
fi
if wanted fuzz; then
    check build-fuzz build "$top/build-fuzz" fuzz -DROUNDS_FUZZ=ON -DCMAKE_C_COMPILER=clang
fi

if wanted style; then
    say "Style"
    mapfile -t sources < <(git ls-files '*.c' '*.h')
    check clang-format clang-format --dry-run -Werror "${sources[@]}"
    check clang-tidy run-clang-tidy -quiet -p build-address "$top/(common|server|client)/"
    pytests house "$top/build" tests/integration/test_house.py
fi

if wanted unit; then
    say "Unit tests, with the address and undefined-behaviour sanitizers"
    unit_tests "$top/build-address"
fi

if wanted fuzz; then
    say "Fuzz targets, 10,000 mutations each"
    for target in tensors json text npy csv boosters quantised framing records content; do
        mkdir -p "$out/corpus-$target"
        check "fuzz-$target" "$top/build-fuzz/tests/fuzz/fuzz_$target" -runs=10000 -max_len=4096 -seed=1 \
            -artifact_prefix="$out/" "$out/corpus-$target" "tests/fuzz/seeds/$target"
    done
fi

if wanted integration; then
    say "Integration: the real programs over real TLS"
    pytests integration "$top/build" "${some[@]}" tests/integration --ignore tests/integration/test_house.py
fi
if wanted browser; then
    say "The dashboard in a real browser; pictures in build/tests/screenshots"
    pytests browser "$top/build" -n 2 --dist loadfile tests/browser
fi
if wanted pictures; then
    say "The documents' pictures of the dashboard"
    pytests pictures "$top/build" tests/browser/test_tour.py
    for picture in "$out"/screenshots/tour-*.png; do
        cp "$picture" "web/pictures/${picture##*/tour-}"
    done
fi
if wanted faults; then
    say "Faults: GUARANTEES.md, row by row"
    pytests faults "$top/build" "${more[@]}" tests/faults -k 'not thousand'
    pytests faults-crowds "$top/build" tests/faults -k thousand # each has the machine to itself
fi
# Held to references number by number, they would take a third of the whole run; the unit tests and fuzz targets of the same code
# run under the sanitizers every time, these in "long".
numbers=(tests/integration/test_{workflows,aggregators,cox,small_cells,simulate,tables}.py)
if wanted address; then
    say "The same under the address and undefined-behaviour sanitizers"
    pytests address "$top/build-address" "${more[@]}" tests/integration tests/faults --ignore tests/integration/test_house.py \
        --deselect tests/faults/test_server_killed.py::test_killed_fifty_times_the_model_is_the_same_to_the_bit \
        --ignore-glob 'tests/integration/test_sdk*' --ignore tests/integration/test_install.py "${numbers[@]/#/--ignore=}" -k 'not thousand and not slow_clients and not slower_than_every and not clock and not certificate_of_another'
fi
if wanted thread; then
    say "The threads under the thread sanitizer"
    unit_tests "$top/build-thread"
    pytests thread "$top/build-thread" "${more[@]}" tests/integration/test_operator.py tests/integration/test_live.py tests/integration/test_webhooks.py tests/integration/test_tus.py tests/faults/test_updates.py \
        -k 'large_one or submission or fraction or ten_times or late or bit or watch or seen_live or stop_ends or outages'
fi
if wanted long; then
    say "What is held to references, under the address and undefined-behaviour sanitizers"
    check build-clang-address build "$top/build-address" all -DROUNDS_TESTS=ON -DROUNDS_SANITIZE=address \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang
    pytests address-numbers "$top/build-address" "${some[@]}" "${numbers[@]}"
    ROUNDS_TEST_LONG=10000 pytests rounds "$top/build" tests/faults -k thousands_of_rounds
    say "Others' newest: TensorBoard and MLflow open what is exported, PyTorch trains"
    have_venv "$top/.venv-long" tests/requirements-long.txt
    python=$top/.venv-long/bin/python
    pytests trackers "$top/build" tests/long
    ROUNDS_PYTHON=$python pytests newest "$top/build" tests/integration/test_sdk*.py
fi
if wanted quickstart; then
    say "The quick start"
    check quickstart deploy/quickstart.sh
    check quickstart-digits deploy/quickstart.sh digits
fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
