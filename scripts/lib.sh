# Shared by the scripts beside it, which source it: . "$(dirname "$0")/lib.sh"
# Runs on bash 3.2, the one macOS ships.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# They keep the linker's dead-code elimination working: without them the binary doubles.
tags=nomsgpack,grpcnotrace,validator_novalidatefn

say() { printf '%s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

# may_install tells whether system packages may be installed without asking anybody.
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

need_go() {
  command -v go >/dev/null || fail 'Go is not installed.' 'Install Go 1.26 or newer: https://go.dev/dl/'
  go env GOVERSION >/dev/null 2>&1 ||
    fail "this Go is too old: $(GOTOOLCHAIN=local go version 2>/dev/null || true)" 'Install Go 1.26 or newer: https://go.dev/dl/'
}

need_node() {
  command -v node >/dev/null && command -v npm >/dev/null ||
    fail 'Node.js is not installed.' 'Install Node.js 22 or newer with npm: https://nodejs.org/en/download'
  node -e 'const [a, b] = process.versions.node.split(".").map(Number)
    process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' ||
    fail "Node.js $(node --version) is too old." 'Install Node.js 22 or newer (20.19 is the oldest that works): https://nodejs.org/en/download'
}

# find_python prints a Python that makes virtual environments: Django needs 3.10.
find_python() {
  local python
  for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
    printf '%s' "$python"
    return
  done
  return 1
}

# npm_install FOLDER installs the packages of its lock file, unless that very set is there.
npm_install() {
  local stamp=$1/node_modules/.genkan-installed want
  want="$(node --version) $(cksum <"$1/package-lock.json")"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return
  say "installing the packages of $1"
  (cd "$1" && npm ci --no-audit --no-fund --loglevel=error)
  printf '%s\n' "$want" >"$stamp"
}

build_spa() {
  npm_install frontend
  (cd frontend && npm run --silent build)
}

# build_go puts both programs into bin/, as they are released.
build_go() {
  mkdir -p bin
  CGO_ENABLED=0 go build -trimpath -tags "$tags" -ldflags '-s -w' -o bin/ ./cmd/genkan ./cmd/devidp
}

# port_taken PORT: does anything listen there on this machine?
port_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || (exec 3<>"/dev/tcp/::1/$1") 2>/dev/null
}

# port_holder PORT names the program that listens there, as far as the system tells.
port_holder() {
  local who=
  if command -v lsof >/dev/null; then
    who=$(lsof -nP -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | awk 'NR == 2 { print $1 " (process " $2 ")" }')
  elif command -v ss >/dev/null; then
    who=$(ss -ltnpH "sport = :$1" 2>/dev/null | sed -n '1s/.*(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p')
  fi
  printf '%s' "${who:-another program}"
}

need_ports() {
  local port
  for port; do
    ! port_taken "$port" ||
      fail "port $port is in use by $(port_holder "$port")." 'Stop it (another scripts/dev, perhaps?) and start again.'
  done
}
