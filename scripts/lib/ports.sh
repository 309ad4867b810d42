# shellcheck shell=bash
# Ports on the loopback address. A started server proves its port; these functions only avoid the taken ones.

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port [PREFERRED]: prints the preferred port when nobody listens there, else another one that is free.
free_port() {
    local port=${1:-0}
    while [ "$port" -eq 0 ] || ! port_is_free "$port"; do
        # Below the range from which the kernel gives ports to outgoing connections.
        port=$((20000 + RANDOM % 12000))
    done
    printf '%s\n' "$port"
}

# http_status HOST:PORT PATH: prints the status of a GET, nothing when there is no answer.
http_status() {
    (
        exec 3<>"/dev/tcp/${1%:*}/${1##*:}" || exit
        printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
        read -r -t 3 _ status _ <&3 && printf '%s\n' "$status"
    ) 2>/dev/null || true
}
