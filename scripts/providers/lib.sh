# Shared by the start scripts of the providers, which source it.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

providers=$PWD/scripts/providers

# skip ends the script as one that cannot work on this machine, with a status of its own
# (EX_UNAVAILABLE), which callers take for "go on without this provider".
skip() {
  say "provider $provider: skipped: $1"
  exit 69
}

# bounded SECONDS COMMAND... ends it when it takes longer. macOS has no timeout(1).
bounded() { perl -e 'alarm shift; exec @ARGV or exit 127' "$@"; }
