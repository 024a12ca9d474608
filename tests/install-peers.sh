# shellcheck shell=bash
# Installs foreign programs: Mosquitto and its clients, which the interop tests talk to, and valgrind,
# which the instruction budget is counted with.
#
# Sourced by test.sh and .ci/run. `install_peers` and `install_valgrind` say nothing when nothing is
# missing, and fail with one clear line when they cannot help. Only builtins and `id` are used beside
# the package manager itself.

PEERS=(mosquitto mosquitto_pub mosquitto_sub mosquitto_passwd)
# Servers are often installed outside an ordinary user's PATH.
PEER_DIRS=${PEER_DIRS-/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin}

# Prints those of the given programs that are found neither in PATH nor in PEER_DIRS.
missing_of() {
  local program missing=()
  for program; do
    PATH="$PATH:$PEER_DIRS" command -v "$program" >/dev/null || missing+=("$program")
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

# Installs packages. `mosquitto-clients` is a package of its own for some package managers, and part of
# `mosquitto` for the others.
install_with_package_manager() {
  local packages=() package
  for package; do
    [ "$package" = mosquitto-clients ] || packages+=("$package")
  done
  if command -v apt-get >/dev/null; then
    local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    as_root "${quiet[@]}" update &&
      as_root "${quiet[@]}" install -y --no-install-recommends "$@"
  elif command -v dnf >/dev/null; then
    as_root dnf --quiet install -y "${packages[@]}"
  elif command -v apk >/dev/null; then
    as_root apk add --quiet "$@"
  elif command -v pacman >/dev/null; then
    as_root pacman -S --noconfirm --needed "${packages[@]}"
  elif command -v brew >/dev/null; then
    # Homebrew refuses to run as root.
    run_or_explain brew install --quiet "${packages[@]}"
  else
    printf 'install-peers: no known package manager (apt-get, dnf, apk, pacman, brew)\n' >&2
    return 1
  fi
}

# Installs what it takes that the programs are there.
#   install_programs NAME 'PACKAGE..' PROGRAM..
install_programs() {
  local name=$1 packages missing
  read -ra packages <<<"$2"
  shift 2
  missing=$(missing_of "$@")
  [ -n "$missing" ] || return 0
  printf 'install-peers: installing %s (missing: %s)\n' "$name" "$missing" >&2
  if ! install_with_package_manager "${packages[@]}"; then
    printf 'install-peers: install %s by hand (missing: %s)\n' "$name" "$missing" >&2
    return 1
  fi
  missing=$(missing_of "$@")
  if [ -n "$missing" ]; then
    printf 'install-peers: still missing after the installation: %s\n' "$missing" >&2
    return 1
  fi
}

install_peers() {
  install_programs 'Mosquitto and its clients' 'mosquitto mosquitto-clients' "${PEERS[@]}"
}

install_valgrind() {
  install_programs valgrind valgrind valgrind
}
