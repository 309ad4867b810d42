# shellcheck shell=bash
# Where things lie, and who runs the servers: PostgreSQL refuses root, so root hands it to another user.
#   ROOT   the checkout
#   DEV    ROOT/.dev, ignored by git: logs, keys, settings of the running product
#   STORE  what the servers must reach: DEV itself, or a folder under /var/tmp where the checkout is closed to their user
#   RUNAS  the words before a command that make it run as the servers' user; empty for an ordinary user

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
DEV=$ROOT/.dev
STORE=$DEV
RUNAS=()

# Creates DEV and settles STORE. DEV/store remembers a folder outside, so that `make dev-reset` finds the data.
prepare_places() {
    mkdir -p "$DEV"
    chmod 755 "$DEV"
    if [ -s "$DEV/store" ]; then
        STORE=$(cat "$DEV/store")
    elif [ "$(id -u)" -eq 0 ] && ! as_nobody test -x "$DEV"; then
        STORE=/var/tmp/bulkhead-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)
        printf '%s\n' "$STORE" >"$DEV/store"
    fi
    [ -d "$STORE" ] || mkdir -m 755 "$STORE"
    [ -O "$STORE" ] || die "$STORE belongs to somebody else; remove it or move the checkout"
}

as_nobody() {
    command -v setpriv >/dev/null || die "as root this needs setpriv (package util-linux); or run it as an ordinary user"
    (cd / && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@")
}

# Chooses RUNAS. The owner of existing data wins: a package installed later may bring a user that it does not know.
choose_server_user() {
    local user=nobody uid gid
    [ "$(id -u)" -eq 0 ] || return 0
    if id postgres >/dev/null 2>&1; then user=postgres; fi
    uid=$(id -u "$user") gid=$(id -g "$user")
    if [ -d "$STORE/services" ]; then
        read -r uid gid <<<"$(find "$STORE/services" -maxdepth 0 -printf '%U %G\n')"
    fi
    RUNAS=(setpriv "--reuid=$uid" "--regid=$gid" --clear-groups)
}

# Runs a command as the servers' user, from a folder that it can enter.
as_server() { (cd / && exec ${RUNAS[@]+"${RUNAS[@]}"} "$@"); }

# server_folder DIR: makes a private folder of the servers' user.
server_folder() {
    mkdir -p "$1" || return
    if [ "$(id -u)" -eq 0 ]; then
        chown "$(as_server id -u):$(as_server id -g)" "$1" || return
    fi
    chmod 700 "$1"
}
