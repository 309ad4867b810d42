# bench.sh: builds the product and its bench and runs one kind of bench beside servers of its own; sourced.
# shellcheck shell=bash
# BENCH_SHORT=1 takes the usual build instead of a release build, and the option --short.

bench_profile() { if [ -n "${BENCH_SHORT-}" ]; then echo debug; else echo release; fi; }
bench_bin() { echo "${CARGO_TARGET_DIR:-$PWD/target}/$(bench_profile)"; }

bench_build() {
    local build=(build --locked -p bulkhead-api -p bulkhead-worker -p bulkhead-bench)
    if [ "$(bench_profile)" = release ]; then build+=(--release); fi
    # The checked-in query descriptions serve the build, whatever database is named here.
    SQLX_OFFLINE=true cargo "${build[@]}"
}

# bench_beside_servers KIND ARGUMENTS...: becomes the bench, with a work folder of the kind's name.
bench_beside_servers() {
    local kind=$1 bin arguments
    shift
    bin=$(bench_bin)
    arguments=(--bin-dir "$bin" --work-dir "$bin/bench-$kind" --database-url "$TEST_DATABASE_URL" --redis-url "$TEST_REDIS_URL")
    if [ -n "${BENCH_SHORT-}" ]; then arguments+=(--short); fi
    rm -rf "$bin/bench-$kind"
    exec "$bin/bulkhead-bench" "$kind" "${arguments[@]}" "$@"
}
