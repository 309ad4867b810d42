# shellcheck shell=bash
# The development stack: servers, API and worker. Sourced by dev, dev-up, dev-down and dev-reset.

for part in say places ports processes postgres redis binaries settings; do
    # shellcheck source=/dev/null # all of them lie beside this file
    . "$(dirname "${BASH_SOURCE[0]}")/$part.sh"
done

BIN=${CARGO_TARGET_DIR:-$ROOT/target}/debug

stack_is_up() { is_alive "$DEV/api.pid" && is_alive "$DEV/worker.pid"; }

private_postgres() {
    local dir=$STORE/services/postgres port
    if [ ! -e "$dir/complete" ]; then
        postgres_create "$dir" "$(secret postgres)" || return
        postgres_create_database "$dir" bulkhead || return
        touch "$dir/complete" || return
    fi
    postgres_fits "$dir" || return
    if ! postgres_is_running "$dir"; then
        port=$(free_port 15432)
        postgres_start "$dir" "$port" "" "-c synchronous_commit=off" || return
    fi
    DATABASE_URL="postgres://postgres:$(secret postgres)@127.0.0.1:$(postgres_port "$dir")/bulkhead"
}

private_redis() {
    local dir=$STORE/services/redis port
    redis_stop "$dir"
    port=$(free_port 16379)
    redis_start "$dir" "$port" "$(secret redis)" || return
    REDIS_URL="redis://:$(secret redis)@127.0.0.1:$port"
}

# Servers that DATABASE_URL and REDIS_URL name are used; what they leave open is started for this checkout.
start_servers() {
    local needs=()
    named_servers
    if [ -z "$DATABASE_URL" ]; then needs+=(postgres); fi
    if [ -z "$REDIS_URL" ]; then needs+=(redis); fi
    if [ ${#needs[@]} -gt 0 ]; then
        provide "${needs[@]}"
        server_folder "$STORE/services"
    fi
    if [ -z "$DATABASE_URL" ]; then step "Starting PostgreSQL" private_postgres; fi
    if [ -z "$REDIS_URL" ]; then step "Starting Redis" private_redis; fi
    server_settings
}

build() {
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "no cargo found: install the Rust toolchain, https://rustup.rs"
    # The checked-in query descriptions serve the build, whatever database is named here.
    SQLX_OFFLINE=true shown "Building the API and the worker (the first time takes minutes)" \
        cargo build --locked -p bulkhead-api -p bulkhead-worker
}

make_keys() { [ -n "$(ls -A "$BULKHEAD__AUTH__KEYS_DIR" 2>/dev/null)" ] || "$BIN/bulkhead-api" generate-keys; }

# The password goes through a pipe: the arguments of a process are for everybody to see.
seed() { printf '%s\n' "$BULKHEAD_ADMIN_PASSWORD" | "$BIN/bulkhead-api" seed --email "$BULKHEAD_ADMIN_EMAIL"; }

is_ready() { [ "$(http_status "$1" /readyz)" = 200 ]; }

# run_until_ready NAME ADDRESS: starts a binary and waits for its own word that it can serve.
run_until_ready() {
    : >"$DEV/$1.log"
    launch "$DEV/$1.pid" "$DEV/$1.log" "$BIN/bulkhead-$1" serve
    await 60 "$DEV/$1.pid" is_ready "$2" && return
    echo "it did not become ready; the end of .dev/$1.log:"
    tail -n 15 "$DEV/$1.log"
    return 1
}

stack_up() {
    cd "$ROOT" || exit
    build
    start_servers
    product_settings
    mkdir -p "$BULKHEAD__COMPUTE__SIMULATOR_DIR"
    step "Making the signing keys" make_keys
    step "Migrating the database" "$BIN/bulkhead-api" migrate
    step "Seeding the operator, a demo tenant and VM templates" seed
    step "Starting the API" run_until_ready api "$BULKHEAD__SERVER__LISTEN"
    step "Starting the worker" run_until_ready worker "$BULKHEAD__WORKER__INTERNAL_LISTEN"
    write_env
}

# The binaries end their work first: they need the servers for it.
stack_down() {
    stop_process "$DEV/api.pid" 30
    stop_process "$DEV/worker.pid" 30
    choose_server_user
    if [ -d "$STORE/services/redis" ]; then redis_stop "$STORE/services/redis"; fi
    if [ -d "$STORE/services/postgres/data" ] && find_postgres; then postgres_stop "$STORE/services/postgres" fast; fi
    rm -f "$ENV_FILE"
}

banner() {
    # shellcheck source=/dev/null # written by write_env
    . "$ENV_FILE"
    cat <<TEXT

Bulkhead is ready.

  API      $BULKHEAD_URL
  Docs     $BULKHEAD_URL/docs
  Metrics  $BULKHEAD_METRICS_URL (API), http://$BULKHEAD__WORKER__INTERNAL_LISTEN/metrics (worker)
  Sign in  $BULKHEAD_ADMIN_EMAIL  $BULKHEAD_ADMIN_PASSWORD
  Logs     .dev/api.log, .dev/worker.log; for scripts: .dev/env

  curl -s $BULKHEAD_URL/health
  TOKEN=\$(curl -s $BULKHEAD_URL/api/v1/auth/token --data-urlencode 'username=$BULKHEAD_ADMIN_EMAIL' --data-urlencode 'password=$BULKHEAD_ADMIN_PASSWORD' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -s $BULKHEAD_URL/api/v1/tenants -H "Authorization: Bearer \$TOKEN"

TEXT
}
