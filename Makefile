# Every target is one script or one cargo command; `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: coverage help dev dev-up dev-down dev-reset demo test test-pgbouncer test-pg18 bench bench-short bench-tenants bench-tenants-short bench-fleet bench-fleet-short bench-enumeration bench-enumeration-short bench-audit bench-rotations bench-jobs bench-jobs-short contract-test contract-test-short chaos chaos-short chaos-mutants house prepare prepare-check fmt fmt-check lint openapi openapi-check deny ci

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 22

dev: ## start the product here and keep it until Ctrl-C
	@scripts/dev

dev-up: ## the same, detached; returns when it is ready
	@scripts/dev-up

dev-down: ## stop it; the data stays
	@scripts/dev-down

dev-reset: ## stop it and remove its data
	@scripts/dev-reset

demo: ## play the tour of the README against the running product
	@scripts/demo

test: ## every test, with a PostgreSQL and a Redis of its own (ARGS=... go to the runner)
	@scripts/test $(ARGS)

test-pgbouncer: ## the same with the product behind a PgBouncer in transaction mode, 4 server connections
	@scripts/test-pgbouncer $(ARGS)

test-pg18: ## the same on PostgreSQL 18 (PG18_BIN names a folder with its programs; else npm brings one)
	@scripts/test-pg18 $(ARGS)

coverage: ## the lines of shared/iam that tests reach (needs cargo-llvm-cov)
	@scripts/coverage $(ARGS)

house: ## the tests that keep the code base in order
	@scripts/test house::

bench: ## speed beside its floor, release build (TENANTS=2000 for more tenants)
	@scripts/bench $(ARGS)

fmt: ## format the code
	cargo fmt --all

fmt-check: ## is the code formatted?
	cargo fmt --all --check

lint: ## clippy with warnings denied, shellcheck
	@scripts/lint

bench-short: ## only whether the bench runs, without a release build
	@BENCH_SHORT=1 scripts/bench

bench-tenants: ## what 2,000 tenants cost, beside a pool without bounds (BENCH_SHORT=1 only shows that it runs)
	@scripts/bench-tenants $(ARGS)

bench-tenants-short: ## only whether it runs, with 40 tenants and without a release build
	@BENCH_SHORT=1 scripts/bench-tenants

bench-fleet: ## migrate 2,000 tenants and print the times beside their bars (BENCH_SHORT=1 for 40)
	@scripts/bench-fleet

bench-fleet-short: ## only whether it runs, with 40 tenants and without a release build
	@BENCH_SHORT=1 scripts/bench-fleet

bench-enumeration: ## do answers, or their times, tell who has an account? (BENCH_SHORT=1 only shows that it runs)
	@scripts/bench-proof enumeration $(ARGS)

bench-enumeration-short: ## only whether it runs, with 20 pairs and without a release build
	@BENCH_SHORT=1 scripts/bench-proof enumeration

bench-audit: ## verify a million rows of an audit log, beside its bar (BENCH_SHORT=1 for 20,000)
	@scripts/bench-proof audit $(ARGS)

bench-rotations: ## three rotations of the signing keys under load: no token may be refused
	@scripts/bench-proof rotations $(ARGS)

bench-jobs: ## jobs a second beside a bare loop and stock apalis-postgres, waits, claims (BENCH_SHORT=1 only shows that it runs)
	@scripts/bench-jobs

bench-jobs-short: ## only whether it runs, without a release build
	@BENCH_SHORT=1 scripts/bench-jobs

contract-test: ## hold answers to generated requests against the OpenAPI document (CONTRACT_CASES=n, CONTRACT_SEED=n)
	@scripts/contract-test

contract-test-short: ## the same with 300 requests for each role
	@CONTRACT_SHORT=1 scripts/contract-test

chaos: ## kill, stop and restart processes from a seed: are the promises about jobs kept? (CHAOS_SEED=n, CHAOS_ONLY=name)
	@scripts/chaos

chaos-short: ## the same in under two minutes
	@CHAOS_SHORT=1 scripts/chaos

chaos-mutants: ## are deliberate bugs caught by it?
	@scripts/chaos --mutants

prepare: ## rebuild the query cache .sqlx
	@scripts/prepare

prepare-check: ## is the query cache up to date?
	@scripts/prepare --check

openapi: ## rebuild api/openapi.json
	@scripts/openapi

openapi-check: ## is api/openapi.json up to date?
	@scripts/openapi --check

deny: ## licences, bans and sources of the dependencies
	@scripts/check-licences

ci: ## exactly what every change has to pass
	@.ci/run
