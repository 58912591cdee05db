#!/usr/bin/env bash
# Installs what packages.txt lists: "run" for building and running, "web" for the dashboard's build, "test" for the tests.
# Usage: install-packages.sh KIND...
set -euo pipefail
cd "$(dirname "$0")"

kinds=$(IFS='|'; echo "${*:-run}")
missing=()
while read -r _ package command; do
    # A program that is there already, from wherever, is enough where the list names one.
    [ -n "$command" ] && command -v "$command" > /dev/null && continue
    [ "$(dpkg-query -W -f='${Status}' "$package" 2> /dev/null)" = "install ok installed" ] || missing+=("$package")
done < <(grep -E "^($kinds) " packages.txt)
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "Installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
