# shellcheck shell=bash
# Installs the foreign programs that the interop tests talk to: Mosquitto and its clients.
#
# Sourced by test.sh. `install_peers` says nothing when nothing is missing, and fails with one clear
# line when it cannot help. Only builtins and `id` are used beside the package manager itself.

PEERS=(mosquitto mosquitto_pub mosquitto_sub mosquitto_passwd)
# Servers are often installed outside an ordinary user's PATH.
PEER_DIRS=${PEER_DIRS-/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin}

# Prints the peers that are found neither in PATH nor in PEER_DIRS.
missing_peers() {
  local peer missing=()
  for peer in "${PEERS[@]}"; do
    PATH="$PATH:$PEER_DIRS" command -v "$peer" >/dev/null || missing+=("$peer")
  done
  printf '%s' "${missing[*]-}"
}

# Runs a command as root: directly, or through sudo when this user is not root.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    run_or_explain "$@"
  elif command -v sudo >/dev/null; then
    run_or_explain sudo "$@"
  else
    printf 'install-peers: not root and no sudo; run as root: %s\n' "$*" >&2
    return 1
  fi
}

run_or_explain() {
  "$@" >&2 </dev/null || {
    printf 'install-peers: the package manager failed (exit code %s): %s\n' "$?" "$*" >&2
    return 1
  }
}

install_with_package_manager() {
  if command -v apt-get >/dev/null; then
    local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    as_root "${quiet[@]}" update &&
      as_root "${quiet[@]}" install -y --no-install-recommends mosquitto mosquitto-clients
  elif command -v dnf >/dev/null; then
    as_root dnf --quiet install -y mosquitto
  elif command -v apk >/dev/null; then
    as_root apk add --quiet mosquitto mosquitto-clients
  elif command -v pacman >/dev/null; then
    as_root pacman -S --noconfirm --needed mosquitto
  elif command -v brew >/dev/null; then
    # Homebrew refuses to run as root.
    run_or_explain brew install --quiet mosquitto
  else
    printf 'install-peers: no known package manager (apt-get, dnf, apk, pacman, brew)\n' >&2
    return 1
  fi
}

install_peers() {
  local missing
  missing=$(missing_peers)
  [ -n "$missing" ] || return 0
  printf 'install-peers: installing Mosquitto (missing: %s)\n' "$missing" >&2
  if ! install_with_package_manager; then
    printf 'install-peers: install Mosquitto and its clients by hand (missing: %s)\n' "$missing" >&2
    return 1
  fi
  missing=$(missing_peers)
  if [ -n "$missing" ]; then
    printf 'install-peers: still missing after the installation: %s\n' "$missing" >&2
    return 1
  fi
}
