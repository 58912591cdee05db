#!/usr/bin/env bash
# A whole federated round with curl and a shell alone: the operator invites a site, the site joins, both do their part.
# Any language can be a site: these are all the calls there are.
#
#   URL=https://localhost:8443 CA=/path/ca.pem TOKEN=... ./round.sh
#
# Needs curl, jq, openssl and, for the "training", od and awk. The model is eight float32; the site adds 1 to each.
set -euo pipefail
: "${URL:?}" "${CA:?}" "${TOKEN:?}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
site=shell-site-$$

operator() { # method path [JSON]
    curl -sS --fail-with-body --cacert "$CA" -H "Authorization: Bearer $TOKEN" -X "$1" "$URL/api/v1$2" \
        ${3:+-H "Content-Type: application/json" -d "$3"}
}
as_site() { # method path [curl options]
    local method=$1 path=$2
    shift 2
    curl -sS --fail-with-body --cacert "$CA" --cert "$work/site.pem" --key "$work/site.key" -X "$method" "$URL/api/v1$path" "$@"
}
json() { as_site "$1" "$2" -H "Content-Type: application/json" -d "$3"; }

# A safetensors file: the header's length in 8 bytes, the header, the numbers.
float32s() { # 8 numbers
    awk 'BEGIN { for (i = 1; i < ARGC; i++) {
        v = ARGV[i] + 0; if (v == 0) { printf "\\x00\\x00\\x00\\x00"; continue }
        s = v < 0 ? 128 : 0; if (v < 0) v = -v; e = 127
        while (v >= 2) { v /= 2; e++ } while (v < 1) { v *= 2; e-- }
        m = int((v - 1) * 8388608 + 0.5)
        printf "\\x%02x\\x%02x\\x%02x\\x%02x", m % 256, int(m / 256) % 256, int(m / 65536) + (e % 2) * 128, s + int(e / 2) } }' "$@"
}
weights() { # file numbers...
    local file=$1 header='{"w":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}}      '
    shift
    { printf "\\x$(printf %02x ${#header})\\x00\\x00\\x00\\x00\\x00\\x00\\x00"; printf %s "$header"; printf "$(float32s "$@")"; } > "$file"
}
upload() { # who file: a whole blob by tus, in one request because it is small; prints its digest
    local digest
    digest=sha256:$(sha256sum "$2" | cut -d' ' -f1)
    "$1" POST /uploads -o /dev/null -H "Tus-Resumable: 1.0.0" -H "Upload-Length: $(stat -c %s "$2")" \
        -H "Upload-Metadata: digest $(printf %s "$digest" | base64 -w0)" \
        -H "Content-Type: application/offset+octet-stream" --data-binary "@$2"
    echo "$digest"
}
operator_raw() {
    local method=$1 path=$2
    shift 2
    curl -sS --fail-with-body --cacert "$CA" -H "Authorization: Bearer $TOKEN" -X "$method" "$URL/api/v1$path" "$@"
}

echo "The operator invites the site; the site makes a key and joins."
invitation=$(operator POST /invitations "{\"site\": \"$site\"}" | jq -r .invitation)
openssl ecparam -name prime256v1 -genkey -noout -out "$work/site.key"
openssl req -new -key "$work/site.key" -subj "/CN=any" -out "$work/site.csr"
jq -n --arg invitation "$invitation" --rawfile request "$work/site.csr" '{$invitation, $request}' |
    curl -sS --fail-with-body --cacert "$CA" -H "Content-Type: application/json" -d @- "$URL/api/v1/join" |
    jq -r .certificate > "$work/site.pem"

echo "The site says what it offers; there is no work yet."
offer='{"protocol": 1, "datasets": ["numbers"], "executors": ["shell"], "slots": 1, "holding": []}'
json POST "/tasks/claim?wait=0" "$offer" | jq -e '.task == null' > /dev/null

echo "The operator uploads a model and submits a job."
weights "$work/model" 0 0.5 1 1.5 2 2.5 3 -4
model=$(upload operator_raw "$work/model")
job=$(operator POST /jobs "{\"name\": \"from the shell\", \"sites\": [\"$site\"], \"dataset\": \"numbers\", \"executor\": \"shell\",
    \"initial_model\": \"$model\", \"params\": {\"rounds\": 1}}" | jq -r .id)

echo "The site waits for work, fetches the model, trains, uploads, reports."
json POST "/tasks/claim?wait=30" "$offer" > "$work/task"
task=$(jq -r .task.id "$work/task")
test "$(jq -r .task.kind "$work/task")" = train
as_site GET "/blobs/$(jq -r .task.model "$work/task")" -o "$work/fetched"
cmp "$work/model" "$work/fetched"
json POST "/tasks/$task/heartbeat" '{"stage": "training", "fraction": 0.5}' > /dev/null
mapfile -t numbers < <(od -An -v -t f4 -w4 -j "$(($(stat -c %s "$work/fetched") - 32))" "$work/fetched" | awk '{print $1 + 1}')
weights "$work/update" "${numbers[@]}"
update=$(upload as_site "$work/update")
json POST "/tasks/$task/result" "{\"update\": \"$update\", \"weight\": 10, \"metrics\": {\"loss\": 0.25}}" | jq -e .accepted > /dev/null

echo "The last model is evaluated."
json POST "/tasks/claim?wait=30" "$offer" > "$work/task"
test "$(jq -r .task.kind "$work/task")" = evaluate
json POST "/tasks/$(jq -r .task.id "$work/task")/result" '{"weight": 10, "metrics": {"loss": 0.125}}' > /dev/null

echo "The job is done; its model is the site's update."
operator GET "/jobs/$job" | jq -e --arg update "$update" '.state == "completed" and .model == $update' > /dev/null
operator GET "/jobs/$job/metrics?site=" | jq -c '.items[]'
operator_raw GET "/blobs/$update" -o "$work/final"
cmp "$work/update" "$work/final"
echo "Done."
