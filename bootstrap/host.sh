#!/usr/bin/env bash
# Prepares the machine that runs the lab and the tests: checks it, then installs what is missing
# (Debian packages, the .venv from its lock, the front end's packages). Idempotent and quick when
# all is there. `make` calls it before everything else.
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# What the lab needs, then what only the tests need (their count is small; one list keeps
# `make test` on a fresh machine to one step).
PACKAGES=(
    aardvark-dns buildah ca-certificates conmon curl git iproute2 iptables mmdebstrap netavark
    nftables openssh-client patch podman procps python3 python3-venv rsync runc uidmap vagrant
    chromium haproxy libcurl4 libfaketime shellcheck socat wrk
)
# What the packages below and the .venv take, and the lab after them.
FREE_GIB=9

say() { printf 'host: %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Every check comes before the first change.
check() {
    [ "$(id -u)" = 0 ] ||
        die "Not running as root: containers with systemd need it. Run 'sudo make $*'."
    # shellcheck source=/dev/null
    { [ -r /etc/os-release ] && . /etc/os-release && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-0}" -ge 12 ]; } ||
        die "This is no Debian 12 or newer: run it on one."
    [ -c /dev/fuse ] ||
        die "/dev/fuse is missing, GlusterFS mounts need it: load it with 'modprobe fuse', or pass the device to this machine."
}

# Only before something is installed: the lab checks what it needs itself.
check_disk() {
    local free
    free=$(df --output=avail -BG "$ROOT" /var | tail -n +2 | tr -dc '0-9\n' | sort -n | head -1)
    [ "$free" -ge "$FREE_GIB" ] ||
        die "Only $free GiB of disk are free, installing needs $FREE_GIB: free some under $ROOT and /var."
}

install_packages() {
    local missing=() name
    for name in "${PACKAGES[@]}"; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    check_disk
    say "installing ${missing[*]}"
    apt-get update -qq
    # A service that starts by being installed would listen on this machine.
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" |
        while read -r line; do case $line in Setting\ up*) say "$line" ;; esac done
}

install_python() {
    local wanted
    wanted=$(sha256sum requirements/dev.txt | cut -d' ' -f1)
    [ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ] && return
    check_disk
    say "making .venv from requirements/dev.txt (about a minute)"
    # One that is a link is another tree's, which would lose its own.
    [ ! -L .venv ] || rm .venv
    /usr/bin/python3 -m venv --clear .venv
    # --no-deps: the lock is complete but for timelib, see requirements/lock.
    .venv/bin/pip install --disable-pip-version-check --require-hashes --no-deps \
        --requirement requirements/dev.txt 2>.venv/pip.log |
        while read -r word rest; do
            case $word in Collecting | Building | Installing) say "$word ${rest:0:60}" ;; esac
        done || die "pip failed: $(tail -n 5 .venv/pip.log)"
    printf '%s\n' "$wanted" >.venv/installed
}

check "${@:-up}"
install_packages
install_python
