# shellcheck shell=bash
# Background processes that outlive the shell. A pid file also holds the moment of birth, so that a number which
# the system gave to another process later is never taken for ours.

birth() {
    local stat
    if [ -r "/proc/$1/stat" ]; then
        read -r stat <"/proc/$1/stat" || return 0
        # shellcheck disable=SC2086 # the fields of the line after the command's name, which may hold spaces
        set -- ${stat##*) }
        [ "$1" = Z ] || printf '%s\n' "${20}"
    else
        ps -o lstart= -p "$1" 2>/dev/null || true
    fi
}

# launch PIDFILE LOG COMMAND...: starts COMMAND in a process group of its own, so that Ctrl-C reaches only the script.
launch() {
    local pid_file=$1 log=$2
    shift 2
    set -m
    nohup "$@" </dev/null >>"$log" 2>&1 &
    set +m
    disown "$!"
    printf '%s %s\n' "$!" "$(birth "$!")" >"$pid_file"
}

pid_of() { cut -d' ' -f1 "$1"; }

is_alive() {
    local pid born
    [ -s "$1" ] || return 1
    read -r pid born <"$1"
    [ -n "$born" ] && [ "$(birth "$pid")" = "$born" ]
}

# stop_process PIDFILE SECONDS: asks the process to end and waits; after SECONDS it is killed.
stop_process() {
    local deadline=$((SECONDS + $2)) pid
    if is_alive "$1"; then
        pid=$(pid_of "$1")
        kill -TERM "$pid" 2>/dev/null || true
        while is_alive "$1"; do
            if [ "$SECONDS" -ge "$deadline" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
            sleep 0.05
        done
    fi
    rm -f "$1"
}

# await SECONDS PIDFILE CONDITION...: true once CONDITION holds; false when the process ends or the time is over.
await() {
    local deadline=$((SECONDS + $1)) pid_file=$2
    shift 2
    until "$@"; do
        is_alive "$pid_file" || return 1
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}
