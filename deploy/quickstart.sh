#!/usr/bin/env bash
# From nothing to a trained model: builds Rounds, starts a server and four hospitals, each with its own key, certificate
# and data, and lets them train one model that none of them could train alone.
#
#   ./deploy/quickstart.sh            breast cancer, logistic regression
#   ./deploy/quickstart.sh digits     handwritten digits, a multilayer perceptron
#   --keep                            leave the server and the hospitals running
#   --no-dashboard                    do not build the dashboard (it needs npm and its registry)
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
example=wdbc
keep=no
dashboard=yes
for word in "$@"; do
    case "$word" in
        wdbc | digits) example=$word ;;
        --keep) keep=yes ;;
        --no-dashboard) dashboard=no ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done

say() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }

"$top/deploy/install-packages.sh" run
build=${ROUNDS_BUILD:-$top/build}
say "Building"
[ -f "$build/build.ninja" ] || cmake -S "$top" -B "$build" -G Ninja > /dev/null
ninja -C "$build" --quiet
if [ "$dashboard" = yes ] && ! { "$top/deploy/install-packages.sh" web && "$top/deploy/build-dashboard.sh"; }; then
    echo "The dashboard could not be built (is npm's registry within reach?); everything else works without it."
    dashboard=no
fi
PATH=$build/server:$build/client:$PATH

home=$(mktemp -d "${TMPDIR:-/tmp}/rounds-quickstart.XXXXXX")
export ROUNDS_HOME=$home/operator
hospitals="hospital-a hospital-b hospital-c hospital-d"
pids=()

stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done
}
trap stop EXIT

fail() {
    echo "quickstart: $*" >&2
    tail -n 5 "$home"/*.log >&2 || true
    exit 1
}

wait_for() { # until the command succeeds, 30 s at most
    for _ in $(seq 300); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done
    return 1
}

say "A server"
rounds-server init --data-dir "$home/server" > "$home/init.txt"
rounds-server --data-dir "$home/server" --address 127.0.0.1 --port 0 --port-file "$home/port" \
    --web-dir "$top/web/dist" 2> "$home/server.log" &
pids+=($!)
wait_for test -s "$home/port" || fail "the server did not start"
url=https://localhost:$(cat "$home/port")
fingerprint=$(grep -o 'sha256:[0-9a-f]*' "$home/init.txt")
setup=$url/#/setup/$(grep -o 'setup/[0-9a-f]*' "$home/init.txt" | cut -d/ -f2)
[ "$dashboard" = no ] || printf 'The dashboard, for the account "admin" (choose a password there; the browser warns of the certificate):\n  %s\n' "$setup"
rounds login "$url" --ca-fingerprint "$fingerprint" < "$home/server/admin.token"

say "Four hospitals join, each with a key that never leaves it"
case "$example" in
    wdbc) label='"label": "diagnosis", "classes": ["benign", "malignant"]' ;;
    digits) label='"label": "digit"' ;;
esac
dataset() { printf '{"name": "%s", "path": "%s", %s}' "$example" "$1" "$label"; }
for hospital in $hospitals; do
    cat > "$home/$hospital.json" << JSON
{
  "state_dir": "$home/$hospital",
  "datasets": { "$example": { "path": "$top/tests/data/$example/$hospital.csv", $label } }
}
JSON
    rounds site invite "$hospital" 2> "$home/invite.log" | rounds-site join "$url" --config "$home/$hospital.json"
    rounds-site --config "$home/$hospital.json" 2> "$home/$hospital.log" &
    pids+=($!)
done
all_connected() { [ "$(rounds site list -o json | grep -c '"connected": true')" -eq 4 ]; }
wait_for all_connected || fail "the hospitals did not connect"
rounds site list

say "They train"
rounds job submit "$top/deploy/examples/$example.json" --watch || fail "the job did not complete"
rounds job download last --to "$home/model.safetensors" > /dev/null
say "The lineage of the model, recomputed"
rounds verify last | tail -n 1

# The trainer without a server, for comparison: the same model, epochs and steps on one table alone.
trainer_params=$(sed -n '/"trainer"/,/}/p' "$top/deploy/examples/$example.json" | tr -d '\n' | sed 's/.*"trainer": //; s/}.*/}/')
ask() { # kind round model output table: one task, the answer's last line
    local model=null
    [ -n "$3" ] && model="\"$3\""
    printf '{"type":"task","protocol":1,"kind":"%s","round":%s,"seed":1,"model":%s,"output":"%s","params":%s,"dataset":%s}\n' \
        "$1" "$2" "$model" "$4" "$6" "$(dataset "$5")"
}
train_alone() { # table output
    {
        ask initialize 0 "" "$home/alone.0" "$1" "$trainer_params"
        for round in $(seq 20); do
            ask train "$round" "$home/alone.$((round - 1))" "$home/alone.$round" "$1" "$trainer_params"
        done
    } | rounds-trainer | grep '"type":"error"' && fail "training alone failed"
    mv "$home/alone.20" "$2"
}
measure() { # model: its accuracy (and auc) on the patients that nobody trained on
    ask evaluate 0 "$1" "" "$top/tests/data/$example/test.csv" "${trainer_params%\}*}, \"validation\": 1 }" | rounds-trainer |
        grep -o '"\(accuracy\|auc\|loss\)":[0-9.e-]*' | sed 's/"//g' | awk -F: '{printf "  %s %.4f", $1, $2}'
}

say "Measured on the $(($(wc -l < "$top/tests/data/$example/test.csv") - 1)) rows that nobody trained on"
for hospital in $hospitals; do
    table=$top/tests/data/$example/$hospital.csv
    train_alone "$table" "$home/$hospital.safetensors"
    printf '%-18s %5d rows %s\n' "$hospital alone" "$(($(wc -l < "$table") - 1))" "$(measure "$home/$hospital.safetensors")"
done
{
    head -n 1 "$top/tests/data/$example/hospital-a.csv"
    for hospital in $hospitals; do tail -n +2 "$top/tests/data/$example/$hospital.csv"; done
} > "$home/pooled.csv"
train_alone "$home/pooled.csv" "$home/pooled.safetensors"
printf '%-18s %5d rows %s\n' "all data pooled" "$(($(wc -l < "$home/pooled.csv") - 1))" "$(measure "$home/pooled.safetensors")"
printf '%-18s %5s      %s\n' "federated" "" "$(measure "$home/model.safetensors")"

say "Where things are"
echo "  the model        $home/model.safetensors"
echo "  server and sites $home"
if [ "$dashboard" = yes ] && { [ "$keep" = yes ] || { [ -t 0 ] && [ -t 1 ]; }; }; then
    echo "  the dashboard    $setup"
fi
if [ "$keep" = yes ]; then
    trap - EXIT
    echo "  the server       $url  (API: $url/api/v1/openapi.json)"
    echo "  look around      ROUNDS_HOME=$home/operator PATH=$build/client:\$PATH rounds job show last"
    echo "  stop it all      kill ${pids[*]}"
elif [ -t 0 ] && [ -t 1 ]; then
    read -r -p "The server and the hospitals run until you press Enter. " _
else
    echo "  Run it with --keep to leave the server open and look around."
fi
