#!/usr/bin/env bash
# Runs each fuzz target of the module for some time.
#
#   tools/fuzz.sh [DURATION]        one minute each, unless DURATION says otherwise
#
# What a target finds is put below the package's testdata/fuzz: commit it, it is then part
# of every test run.
set -euo pipefail
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
  dir=${package#"$(go list -m)"/}
  grep -lqs '^func Fuzz' "$dir"/*_test.go || continue
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz'); do
    echo "$package $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-1m}" "$package" | tail -n 3
  done
done
