# shellcheck shell=bash
# One private PostgreSQL cluster in a folder: DIR/data, DIR/log. Needs PG_BIN, places.sh and ports.sh.

cluster_ctl() { as_server "$PG_BIN/pg_ctl" -D "$1/data" "${@:2}"; }

# postgres_create DIR [PASSWORD]: with a password every connection has to give it; without, local users are trusted.
postgres_create() {
    local dir=$1 password=${2-} locale=C auth=(-A trust)
    if locale -a 2>/dev/null | grep -qi '^C\.utf-\{0,1\}8$'; then locale=C.UTF-8; fi
    rm -rf "$dir/data"
    server_folder "$dir" || return
    if [ -n "$password" ]; then
        # shellcheck disable=SC2016 # the inner shell expands them
        printf '%s\n' "$password" | as_server sh -c 'umask 077 && cat >"$1"' sh "$dir/password" || return
        auth=(-A scram-sha-256 "--pwfile=$dir/password")
    fi
    as_server "$PG_BIN/initdb" -D "$dir/data" -U postgres -E UTF8 "--locale=$locale" --no-sync "${auth[@]}" || return
    rm -f "$dir/password"
}

# postgres_create_database DIR NAME: while the server is down, so that no client program is needed.
postgres_create_database() {
    echo "CREATE DATABASE $2" | as_server "$PG_BIN/postgres" --single -D "$1/data" postgres || return
}

# Data of one major version cannot be read by another.
postgres_fits() {
    local data program
    data=$(as_server cat "$1/data/PG_VERSION")
    program=$(as_server "$PG_BIN/postgres" --version)
    case $program in
        *") $data."*) ;;
        *)
            echo "the data in $1 belongs to PostgreSQL $data, but $PG_BIN has $program: set PG_BIN, or make dev-reset"
            return 1
            ;;
    esac
}

# postgres_start DIR PORT SOCKET_DIR [SERVER OPTIONS]: listens on 127.0.0.1:PORT and, unless empty, in SOCKET_DIR.
postgres_start() {
    local dir=$1 port=$2 sockets=$3
    cluster_ctl "$dir" -w -t 60 -l "$dir/log" start -o "-p $port -k '$sockets' -c listen_addresses=127.0.0.1 \
        -c jit=off -c max_locks_per_transaction=256 -c timezone=UTC ${4-}" && return
    as_server tail -n 5 "$dir/log"
    return 1
}

postgres_is_running() { cluster_ctl "$1" status >/dev/null 2>&1; }

# The port of a running server.
postgres_port() { as_server sed -n 4p "$1/data/postmaster.pid"; }

# postgres_stop DIR MODE: fast ends the sessions first, immediate leaves recovery to the next start.
postgres_stop() { ! postgres_is_running "$1" || cluster_ctl "$1" -w -t 60 -m "$2" stop; }
