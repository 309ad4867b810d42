# shellcheck shell=bash
# One private Redis or Valkey in a folder, without persistence: the product keeps nothing there that it cannot lose.
# Needs REDIS_SERVER, places.sh and processes.sh.

# redis_start DIR PORT [PASSWORD]
redis_start() {
    local dir=$1 port=$2 password=${3-}
    server_folder "$dir" || return
    # shellcheck disable=SC2016 # the inner shell expands them
    {
        printf 'port %s\nbind 127.0.0.1\ndir "%s"\nlogfile "%s"\nsave ""\nappendonly no\n' "$port" "$dir" "$dir/log"
        if [ -n "$password" ]; then printf 'requirepass %s\n' "$password"; fi
    } | as_server sh -c 'umask 077 && : >"$1/log" && cat >"$1/redis.conf"' sh "$dir" || return
    launch "$dir/pid" /dev/null ${RUNAS[@]+"${RUNAS[@]}"} "$REDIS_SERVER" "$dir/redis.conf"
    await 30 "$dir/pid" redis_is_ready "$dir" && return
    as_server tail -n 5 "$dir/log"
    return 1
}

# Our own log says it, so that another server on the port cannot answer in its place.
redis_is_ready() { as_server grep -q 'Ready to accept connections' "$1/log"; }

redis_stop() { stop_process "$1/pid" 10; }
