#!/usr/bin/env bash
# Runs every test of the project, against a real Mosquitto, OpenSSL, tinyproxy and Paho's client for Python
# as well.
#
#   ./test.sh              installs those when they are missing, then runs everything once
#   ./test.sh --repeat N   builds once, then runs the unit, hermetic and interop tests N times
#
# `cargo test --workspace` runs the same tests; it leaves the interop tests out, with one line, where
# one of those is not installed. Here a missing peer is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=tests/install-peers.sh
. tests/install-peers.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  printf 'test.sh: %s\n' "$*" >&2
  exit 1
}

# Builds all tests and writes one line per test binary: kind, name, package folder, program.
build_tests() {
  cargo test --workspace --locked --no-run --message-format=json-render-diagnostics \
    >"$scratch/artifacts"
  # Some tests run the agent. It is built here, so that no test spends its time limit on it.
  cargo build --locked --package agent --bins --examples
  # One JSON object a line, its fields always in the same order.
  local manifest='"manifest_path":"([^"]*)\/Cargo\.toml"'
  local target='"target":\{"kind":\["([a-z-]+)".*"name":"([^"]*)","src_path"'
  # The profile says whether it was built as a test; the target only whether it could be.
  local program='"profile":\{[^}]*"test":true\}.*"executable":"([^"]*)"'
  sed -nE "s/^.*$manifest,$target.*$program.*\$/\\2\\t\\3\\t\\1\\t\\4/p" \
    "$scratch/artifacts" | sort >"$scratch/binaries"
  local tier
  for tier in hermetic interop tidy; do
    grep -q "^test	$tier	" "$scratch/binaries" || fail "no binary of the $tier tier was built"
  done
}

# Runs one test binary where cargo would run it.
run_binary() {
  (cd "$1" && "$2")
}

# Runs the unit tests of the fibers once more on the stacks that kernels before Linux 6.13 have: they
# are what most devices run on. One test at a time: these stacks are bounded for the whole process.
run_fibers_on_older_guards() {
  RUST_TEST_THREADS=1 FIBER_GUARDS=pages run_binary "$1" "$2"
}

# Sums up the passed tests in the output of test binaries.
passed_in() {
  awk '/^test result: ok\. /{sum += $4} END {print sum + 0}' "$1"
}

check_interop_count() {
  local ran minimum
  ran=$(passed_in "$1")
  minimum=$(cat tests/interop/minimum)
  printf 'interop: %s tests ran, at least %s must\n' "$ran" "$minimum"
  [ "$ran" -ge "$minimum" ] || fail "only $ran interop tests ran, tests/interop/minimum says $minimum"
}

run_once() {
  local kind name folder program failed=()
  # The list has a descriptor of its own: a test cannot read it away.
  while IFS=$'\t' read -r -u 3 kind name folder program; do
    printf '\n%s (%s)\n' "$name" "$kind"
    run_binary "$folder" "$program" | tee "$scratch/output" || failed+=("$name ($kind)")
    if [ "$kind $name" = 'test interop' ]; then
      cp "$scratch/output" "$scratch/interop"
    fi
    if [ "$kind $name" = 'lib fiber' ]; then
      printf '\n%s (%s) with guards of older kernels\n' "$name" "$kind"
      run_fibers_on_older_guards "$folder" "$program" || failed+=("$name with FIBER_GUARDS=pages")
    fi
  done 3<"$scratch/binaries"
  printf '\nexamples in the documentation\n'
  cargo test --workspace --locked --doc || failed+=('examples')
  printf '\n'
  if [ ${#failed[@]} -gt 0 ]; then
    printf 'test.sh: failed: %s\n' "${failed[@]}" >&2
    exit 1
  fi
  check_interop_count "$scratch/interop"
}

run_repeatedly() {
  local rounds=$1 round kind name folder program start
  for ((round = 1; round <= rounds; round++)); do
    start=$SECONDS
    : >"$scratch/round"
    while IFS=$'\t' read -r -u 3 kind name folder program; do
      [ "$name" != tidy ] || continue
      if ! run_binary "$folder" "$program" >"$scratch/output" 2>&1; then
        cat "$scratch/output"
        fail "round $round of $rounds: $name ($kind) failed"
      fi
      cat "$scratch/output" >>"$scratch/round"
      if [ "$kind $name" = 'lib fiber' ]; then
        if ! run_fibers_on_older_guards "$folder" "$program" >"$scratch/output" 2>&1; then
          cat "$scratch/output"
          fail "round $round of $rounds: $name with FIBER_GUARDS=pages failed"
        fi
        cat "$scratch/output" >>"$scratch/round"
      fi
    done 3<"$scratch/binaries"
    printf 'round %s of %s: %s tests passed in %s s\n' \
      "$round" "$rounds" "$(passed_in "$scratch/round")" "$((SECONDS - start))"
  done
}

rounds=0
case "${1-}" in
  '') ;;
  --repeat)
    rounds=${2-}
    [[ "$rounds" =~ ^[1-9][0-9]*$ ]] || fail '--repeat needs a number of rounds'
    ;;
  *) fail "unknown argument: $1 (./test.sh or ./test.sh --repeat N)" ;;
esac

install_peers
install_web_socket_peer
export REQUIRE_INTEROP=1
build_tests
if [ "$rounds" = 0 ]; then
  run_once
else
  run_repeatedly "$rounds"
fi
