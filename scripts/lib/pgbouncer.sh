# shellcheck shell=bash
# One private PgBouncer in a folder, in transaction mode, before a PostgreSQL on loopback. Needs PGBOUNCER, places.sh and
# processes.sh.

# pgbouncer_start DIR PORT POSTGRES_PORT SIZE: any database and any user, SIZE server connections for each pair of them.
pgbouncer_start() {
    local dir=$1
    server_folder "$dir" || return
    # shellcheck disable=SC2016 # the inner shell expands them
    pgbouncer_settings "$@" | as_server sh -c 'umask 077 && : >"$1/log" && cat >"$1/pgbouncer.ini"' sh "$dir" || return
    # shellcheck disable=SC2016 # as above
    printf '"postgres" ""\n' | as_server sh -c 'umask 077 && cat >"$1/users"' sh "$dir" || return
    launch "$dir/pid" /dev/null ${RUNAS[@]+"${RUNAS[@]}"} "$PGBOUNCER" "$dir/pgbouncer.ini"
    await 30 "$dir/pid" pgbouncer_is_ready "$dir" && return
    as_server tail -n 5 "$dir/log"
    return 1
}

# Each test has a database of its own, so idle server connections are given up soon.
pgbouncer_settings() {
    cat <<TEXT
[databases]
* = host=127.0.0.1 port=$3
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $2
unix_socket_dir =
logfile = $1/log
auth_type = trust
auth_file = $1/users
auth_user = postgres
auth_query = SELECT rolname::text, ''::text FROM pg_catalog.pg_roles WHERE rolname = \$1 AND rolcanlogin
pool_mode = transaction
default_pool_size = $4
max_client_conn = 2000
server_idle_timeout = 5
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
TEXT
}

pgbouncer_is_ready() { as_server grep -q 'process up' "$1/log"; }

pgbouncer_stop() { stop_process "$1/pid" 5; }
