#!/usr/bin/env bash
# Builds the Debian package of the agent (`cargo install cargo-deb`), and prints where it is.
#
#   packaging/deb.sh                              for this machine and its C library
#   packaging/deb.sh x86_64-unknown-linux-musl    static, for any Linux of that kind
#
# Manual page and completions are what the built program prints, so the target is one that runs here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${1-}
for_target=()
[ -z "$target" ] || for_target=(--target "$target")
cargo build --release --locked --package agent --bin agent "${for_target[@]}"
agent=${CARGO_TARGET_DIR:-target}/${target:+$target/}release/agent
made=target/packaging
mkdir -p "$made"
"$agent" man >"$made/agent.1"
"$agent" completions bash >"$made/agent.bash"
"$agent" completions zsh >"$made/_agent"
"$agent" completions fish >"$made/agent.fish"
cargo deb --package agent --no-build --locked "${for_target[@]}"
