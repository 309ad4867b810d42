# shellcheck shell=bash
# How the scripts talk: progress and errors go to standard error, so that standard output stays for results.

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# step TEXT COMMAND...: announces a step and runs it quietly; what it printed is shown only when it fails.
# COMMAND runs where `set -e` has no effect, so a function given here ends its own commands with `|| return`.
step() {
    local text=$1 started=$SECONDS log
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/bulkhead-step.XXXXXX")
    printf '==> %s ... ' "$text" >&2
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
        say "done ($((SECONDS - started)) s)"
    else
        say "failed"
        sed 's/^/    /' "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# shown TEXT COMMAND...: announces a long step whose own output is the progress.
shown() {
    local text=$1 started=$SECONDS
    shift
    say "==> $text ..."
    "$@" >&2 || return 1
    say "==> $text: done ($((SECONDS - started)) s)"
}
