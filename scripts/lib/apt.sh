# shellcheck shell=bash
# Which packages of Debian and Ubuntu carry what is needed. APT holds the options of every call.

APT=()

# package_for NEED: prints the package, nothing when the distribution has none that is new enough.
package_for() {
    case $1 in
        postgres)
            apt-cache "${APT[@]}" pkgnames postgresql- | sed -n 's/^postgresql-\([0-9]\{1,\}\)$/\1/p' | sort -rn |
                awk '$1 >= 15 { print "postgresql-" $1; exit }'
            ;;
        redis)
            apt-cache "${APT[@]}" pkgnames | grep -xE 'redis-server|valkey-server' | sort | sed -n 1p
            ;;
        pgbouncer)
            apt-cache "${APT[@]}" pkgnames pgbouncer | grep -xF pgbouncer
            ;;
    esac
}

# packages_for NEED...: one per line; fails with a sentence when one is missing.
packages_for() {
    local need package
    for need in "$@"; do
        package=$(package_for "$need")
        if [ -z "$package" ]; then
            echo "this distribution has no package for $need that is new enough" >&2
            return 1
        fi
        printf '%s\n' "$package"
    done
}
