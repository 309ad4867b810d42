# shellcheck shell=bash
# What the binaries of the development stack are told. Needs say.sh, places.sh and ports.sh.

ENV_FILE=$DEV/env

# The value of NAME in the checkout's .env, without quotes; nothing when it is not there.
from_dotenv() {
    [ -r "$ROOT/.env" ] || return 0
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$ROOT/.env" | tail -n 1 |
        sed -e 's/[[:space:]]*$//' -e "s/^'\(.*\)'\$/\1/" -e 's/^"\(.*\)"$/\1/'
}

# setting NAME DEFAULT: exports NAME. The environment wins over .env, and .env over the default.
setting() {
    local value=${!1-}
    if [ -z "$value" ]; then value=$(from_dotenv "$1"); fi
    export "$1=${value:-$2}"
}

# secret NAME: prints a password of this checkout, made up at its first use.
secret() {
    local file=$DEV/secrets
    if ! grep -qs "^$1=" "$file"; then
        (umask 077 && printf '%s=%s\n' "$1" "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >>"$file")
    fi
    sed -n "s/^$1=//p" "$file"
}

# login ROLE: DATABASE_URL with another user and its password.
login() {
    printf '%s\n' "$DATABASE_URL" | sed "s#^\([a-z]*://\)\([^/?@]*@\)\{0,1\}#\1$1:$(secret "$1")@#"
}

# DATABASE_URL and REDIS_URL, when somebody named servers to use; empty otherwise.
named_servers() {
    setting DATABASE_URL ""
    setting REDIS_URL ""
}

server_settings() {
    setting BULKHEAD__DATABASE__OWNER_URL "$DATABASE_URL"
    setting BULKHEAD__DATABASE__CONTROL_URL "$(login bulkhead_control)"
    setting BULKHEAD__DATABASE__TENANT_URL "$(login bulkhead_tenant)"
    setting BULKHEAD__REDIS__URL "$REDIS_URL"
}

product_settings() {
    setting BULKHEAD__SERVER__LISTEN "127.0.0.1:$(free_port 8080)"
    setting BULKHEAD__SERVER__INTERNAL_LISTEN "127.0.0.1:$(free_port 9090)"
    setting BULKHEAD__WORKER__INTERNAL_LISTEN "127.0.0.1:$(free_port 9091)"
    setting BULKHEAD__SERVER__PUBLIC_URL "http://$BULKHEAD__SERVER__LISTEN"
    setting BULKHEAD__AUTH__ISSUER "$BULKHEAD__SERVER__PUBLIC_URL"
    setting BULKHEAD__AUTH__KEYS_DIR "$DEV/keys"
    setting BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL false
    setting BULKHEAD__ARCHIVES__DIR "$DEV/archives"
    setting BULKHEAD__AUDIT__CHECKPOINTS_DIR "$DEV/checkpoints"
    setting BULKHEAD__COMPUTE__SIMULATOR_DIR "$DEV/simulator"
    setting BULKHEAD__TELEMETRY__LOG_FORMAT text
    setting BULKHEAD_ADMIN_EMAIL admin@bulkhead.example
    setting BULKHEAD_ADMIN_PASSWORD "$(secret admin)"
}

# What scripts may source: the documented names, then every setting, to start one binary by hand.
write_env() {
    (
        umask 077
        {
            assignment BULKHEAD_URL "$BULKHEAD__SERVER__PUBLIC_URL"
            assignment BULKHEAD_METRICS_URL "http://$BULKHEAD__SERVER__INTERNAL_LISTEN/metrics"
            assignment BULKHEAD_API_PID "$(pid_of "$DEV/api.pid")"
            assignment BULKHEAD_WORKER_PID "$(pid_of "$DEV/worker.pid")"
            # Without a relay the mails are in the worker's log.
            assignment BULKHEAD_MAILS "$DEV/worker.log"
            local name
            for name in BULKHEAD_ADMIN_EMAIL BULKHEAD_ADMIN_PASSWORD DATABASE_URL REDIS_URL $(compgen -e BULKHEAD__); do
                assignment "$name" "${!name}"
            done
        } >"$ENV_FILE"
    )
}

assignment() { printf "%s='%s'\n" "$1" "$(printf '%s' "$2" | sed "s/'/'\\\\''/g")"; }
