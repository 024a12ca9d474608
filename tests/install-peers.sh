# shellcheck shell=bash
# Installs foreign programs: Mosquitto and its clients, Paho's client for Python, OpenSSL, tinyproxy and a
# broker for Node.js, which the interop tests talk to, and valgrind, which the instruction budget is
# counted with.
#
# Sourced by test.sh and .ci/run. `install_peers` and `install_valgrind` say nothing when nothing is
# missing, and fail with one clear line when they cannot help. Only builtins, `id` and the Python that is
# asked for its libraries are used beside the package manager itself.

PEERS=(mosquitto mosquitto_pub mosquitto_sub mosquitto_passwd paho-mqtt)
# Servers are often installed outside an ordinary user's PATH.
PEER_DIRS=${PEER_DIRS-/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin}
# A package manager installs libraries for its own Python, which need not be the first one in PATH.
PYTHON_DIRS=${PYTHON_DIRS-/usr/bin:/usr/local/bin:/opt/homebrew/bin}

# Prints those of the given programs that are found neither in PATH nor in PEER_DIRS; `paho-mqtt` is
# Paho's client in any Python.
missing_of() {
  local program missing=()
  for program; do
    if [ "$program" = paho-mqtt ]; then
      has_paho || missing+=("$program")
    else
      PATH="$PATH:$PEER_DIRS" command -v "$program" >/dev/null || missing+=("$program")
    fi
  done
  printf '%s' "${missing[*]-}"
}

has_paho() {
  local folder folders
  IFS=: read -ra folders <<<"$PATH:$PYTHON_DIRS"
  for folder in "${folders[@]}"; do
    if [ -x "$folder/python3" ] &&
      "$folder/python3" -c 'import paho.mqtt.client' >/dev/null 2>&1 </dev/null; then
      return 0
    fi
  done
  return 1
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

# Installs packages, given by their names for apt-get. `mosquitto-clients` is a package of its own for
# some package managers, and part of `mosquitto` for the others; that of Paho's client has other names.
install_with_package_manager() {
  if command -v apt-get >/dev/null; then
    local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    as_root "${quiet[@]}" update &&
      as_root "${quiet[@]}" install -y --no-install-recommends "$@"
  elif command -v dnf >/dev/null; then
    name_packages '' python3-paho-mqtt "$@"
    as_root dnf --quiet install -y "${named[@]}"
  elif command -v apk >/dev/null; then
    name_packages mosquitto-clients py3-paho-mqtt "$@"
    as_root apk add --quiet "${named[@]}"
  elif command -v pacman >/dev/null; then
    name_packages '' python-paho-mqtt "$@"
    as_root pacman -S --noconfirm --needed "${named[@]}"
  elif command -v brew >/dev/null; then
    # Homebrew has no package of Paho's client, and refuses to run as root.
    name_packages '' '' "$@"
    run_or_explain brew install --quiet "${named[@]}"
  else
    printf 'install-peers: no known package manager (apt-get, dnf, apk, pacman, brew)\n' >&2
    return 1
  fi
}

# Sets `named` to the packages that follow two names: of `mosquitto-clients` and `python3-paho-mqtt`, empty
# where there is no such package.
name_packages() {
  local clients=$1 paho=$2 package
  shift 2
  named=()
  for package; do
    case $package in
      mosquitto-clients) package=$clients ;;
      python3-paho-mqtt) package=$paho ;;
    esac
    [ -z "$package" ] || named+=("$package")
  done
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
    case " $missing " in
      *' paho-mqtt '*) printf 'install-peers: try: python3 -m pip install paho-mqtt\n' >&2 ;;
    esac
    return 1
  fi
}

install_peers() {
  install_programs "Mosquitto and Paho's client for Python" \
    'mosquitto mosquitto-clients python3-paho-mqtt' "${PEERS[@]}" &&
    install_programs OpenSSL openssl openssl &&
    install_programs tinyproxy tinyproxy tinyproxy
}

# Installs Node.js, and a broker that speaks WebSocket: the packages of tests/peers/websocket, in the
# versions of its lock file, below the folder of what is built. From the root of the project.
install_web_socket_peer() {
  local from=tests/peers/websocket to=${CARGO_TARGET_DIR:-target}/peers/websocket
  install_programs Node.js 'nodejs npm' node npm || return 1
  # The copy of the lock file is put there last, so it stands for a whole installation.
  if cmp -s "$from/package-lock.json" "$to/installed.json"; then
    return 0
  fi
  printf 'install-peers: installing aedes and ws for Node.js\n' >&2
  if ! { mkdir -p "$to" && cp "$from/package.json" "$from/package-lock.json" "$to/" &&
    (cd "$to" && npm ci --ignore-scripts --no-audit --no-fund --silent >&2 </dev/null) &&
    cp "$from/package-lock.json" "$to/installed.json"; }; then
    printf 'install-peers: npm failed; by hand: npm ci in %s\n' "$to" >&2
    return 1
  fi
}

install_valgrind() {
  install_programs valgrind valgrind valgrind
}
