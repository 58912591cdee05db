#!/usr/bin/env bash
# Builds the dashboard into web/dist, if it has changed since the last time. Needs npm (packages.txt, "web").
set -euo pipefail
cd "$(dirname "$0")/../web"

state=$(cat package-lock.json build.mjs $(find src -type f | sort) ../README.md ../*/README.md ../client/python/README.md | sha256sum)
[ "$(cat dist/.built 2> /dev/null)" = "$state" ] && exit 0
if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --silent --no-audit --no-fund --fetch-retries 1 --fetch-timeout 30000
    cp package-lock.json node_modules/.installed
fi
npm run --silent build > /dev/null
echo "$state" > dist/.built
