#!/usr/bin/env bash
# Turns a bare OS into a Salt minion or the salt-master. Idempotent: a second run changes nothing
# and restarts nothing. The node images, Vagrant's provisioners and an operator on bare metal all
# run this same script, from a checkout (or copy) of the repository on the node.
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
FILES=$HERE/files
PREFIX=/opt/salt
WHEELS=${COUNTERAPP_WHEELS:-/srv/counterapp-wheels}
ETC=/etc/salt
TREE=/srv/counterapp
PROGRAMS=(salt salt-call salt-key salt-run salt-cp salt-master salt-minion)

usage() {
    cat <<'EOF'
Usage: bootstrap.sh COMMAND [OPTIONS]

  install                      put Salt into /opt/salt, start nothing (for images)
  minion --id ID --roles R,R --master ADDRESS [--topology NAME] [--master-finger F]
                               make this machine the minion ID; it starts once it has been told
                               the master's fingerprint, now or later
  master --id ID --address ADDRESS [--topology NAME]
                               make this machine the salt-master, and a minion of itself
  trust-master FINGERPRINT     tell this minion its master's fingerprint, and start it
  fingerprint minion|master    print the fingerprint of this machine's own public key

The wheels are read from $COUNTERAPP_WHEELS (/srv/counterapp-wheels), made by `make wheels`.
EOF
}

say() { printf 'bootstrap: %s\n' "$*"; }
die() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }

# --- Python and Salt ---------------------------------------------------------------------------

# The Python to run Salt on, of those the wheelhouse has wheels for: the distribution's own
# first, then the newest.
find_python() {
    local index version candidates=() locks=("$WHEELS"/*/requirements.txt)
    candidates+=("$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)")
    for ((index = ${#locks[@]} - 1; index >= 0; index--)); do
        candidates+=("$(basename "$(dirname "${locks[index]}")")")
    done
    for version in "${candidates[@]}"; do
        if [ -s "$WHEELS/$version/requirements.txt" ] &&
            "python$version" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$version"
            return
        fi
    done
    return 1
}

install_python() {
    if command -v apt-get >/dev/null; then
        say "installing Python from the distribution"
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
            python3 python3-venv ca-certificates
    elif command -v dnf >/dev/null; then
        say "installing Python from the distribution"
        dnf -qy install python3.11
    else
        die "neither apt-get nor dnf is here: install Python 3.11 or newer with venv, then run this again."
    fi
}

install_salt() {
    local version lock wanted
    compgen -G "$WHEELS/*/requirements.txt" >/dev/null ||
        die "no wheels in $WHEELS: run 'make wheels' and copy build/wheels there, or set COUNTERAPP_WHEELS."
    if ! version=$(find_python); then
        install_python
        version=$(find_python) ||
            die "no Python here fits the wheels in $WHEELS: add this platform to pillar/topology.sls and run 'make wheels'."
    fi
    lock=$WHEELS/$version/requirements.txt
    wanted=$(sha256sum "$lock" | cut -d' ' -f1)
    if [ "$(cat "$PREFIX/installed" 2>/dev/null)" != "$wanted" ]; then
        say "installing Salt for Python $version into $PREFIX"
        rm -f "$PREFIX/installed"
        "python$version" -m venv --clear "$PREFIX"
        # --no-deps: the lock is complete, and leaves out timelib on purpose (no wheel of it
        # exists; Salt only wants it for free-form dates).
        "$PREFIX/bin/pip" install --quiet --no-index --no-deps --require-hashes --no-cache-dir \
            --disable-pip-version-check --find-links "$WHEELS/$version" \
            --requirement "$lock"
        printf '%s\n' "$wanted" >"$PREFIX/installed"
        SALT_CHANGED=yes
    fi
    local program
    for program in "${PROGRAMS[@]}"; do
        [ "$(readlink "/usr/local/bin/$program")" = "$PREFIX/bin/$program" ] ||
            ln -sfn "$PREFIX/bin/$program" "/usr/local/bin/$program"
    done
}

site_packages() {
    "$PREFIX/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

# --- Configuration -----------------------------------------------------------------------------

# put PATH: replaces PATH by what stands on standard input, only where it differs. Returns 0
# when it wrote, 1 when PATH was right already.
put() {
    local path=$1 content
    content=$(cat)
    [ "$(cat "$path" 2>/dev/null)" = "$content" ] && return 1
    mkdir -p "$(dirname "$path")"
    printf '%s\n' "$content" >"$path.new"
    mv "$path.new" "$path"
    say "wrote $path"
}

# trust_authority PEM: has the programs of this machine trust whom clients of the VIP are to trust.
trust_authority() {
    local pem=$1
    if command -v update-ca-certificates >/dev/null; then
        put /usr/local/share/ca-certificates/counterapp-https.crt <"$pem" || return 0
        update-ca-certificates >/dev/null
    elif command -v update-ca-trust >/dev/null; then
        put /etc/pki/ca-trust/source/anchors/counterapp-https.crt <"$pem" || return 0
        update-ca-trust
    else
        say "no ca-certificates here: curl wants --cacert $pem at the VIP"
    fi
}

# link PATH TARGET: makes PATH a symbolic link to TARGET. Returns as put does.
link() {
    [ "$(readlink "$1")" = "$2" ] && return 1
    mkdir -p "$(dirname "$1")"
    ln -sfn "$2" "$1"
    say "linked $1"
}

# fill TEMPLATE NAME=VALUE…: prints TEMPLATE with every @NAME@ replaced.
fill() {
    local text pair
    text=$(cat "$FILES/$1")
    shift
    for pair in "$@"; do
        text=${text//"@${pair%%=*}@"/${pair#*=}}
    done
    printf '%s\n' "$text"
}

set_up_unit() { # set_up_unit NAME: installs and enables the systemd unit, and sets UNIT_CHANGED
    UNIT_CHANGED=no
    if put "/etc/systemd/system/$1.service" <"$FILES/$1.service"; then
        systemctl daemon-reload
        UNIT_CHANGED=yes
    fi
    systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl enable --quiet "$1"
}

# bring_up NAME CHANGED: starts the unit, or restarts it when what it runs on has changed.
bring_up() {
    if ! systemctl is-active --quiet "$1"; then
        say "starting $1"
        systemctl start "$1"
    elif [ "$2" = yes ]; then
        say "restarting $1, its configuration changed"
        systemctl restart "$1"
    fi
}

set_up_minion() { # set_up_minion ID ROLES MASTER TOPOLOGY
    MINION_CHANGED=$SALT_CHANGED
    put "$ETC/minion_id" <<<"$1" && MINION_CHANGED=yes
    printf 'roles: [%s]' "${2//,/, }" | put "$ETC/grains" && MINION_CHANGED=yes
    fill minion.conf "MASTER=$3" "TOPOLOGY=$4" | put "$ETC/minion.d/counterapp.conf" && MINION_CHANGED=yes
    # sudo wants to know its own machine, before the states know all of them.
    getent hosts "$1" >/dev/null || printf '127.0.1.1 %s\n' "$1" >>/etc/hosts
    make_key minion
    set_up_unit salt-minion
    [ "$UNIT_CHANGED" = no ] || MINION_CHANGED=yes
}

trust_master() { # trust_master FINGERPRINT
    [[ $1 =~ ^([0-9a-f]{2}:){31}[0-9a-f]{2}$ ]] ||
        die "'$1' is no SHA-256 fingerprint: print it on the master with 'bootstrap.sh fingerprint master'."
    if put "$ETC/minion.d/master_finger.conf" <<<"master_finger: '$1'"; then
        # A key the minion cached from an earlier master would be believed before the fingerprint.
        rm -f "$ETC/pki/minion/minion_master.pub"
        MINION_CHANGED=yes
    fi
    bring_up salt-minion "$MINION_CHANGED"
}

fingerprint() { # fingerprint minion|master: as salt-key --finger prints it
    local key=$ETC/pki/$1/$1.pub
    [ -s "$key" ] || die "$key does not exist: run 'bootstrap.sh $1' first."
    sed '1d;$d' "$key" | sha256sum | cut -d' ' -f1 | sed 's/../&:/g;s/:$//'
}

make_key() { # make_key minion|master: the daemon would make it later, we name its fingerprint now
    local directory=$ETC/pki/$1
    [ -s "$directory/$1.pub" ] && return
    say "making the key of this $1"
    install -d -m 700 "$directory"
    # `salt-key --gen-keys` of 3008.3 writes the pair and then ends in a traceback.
    # Made aside, the public half put in place last: where it is, the pair is whole. Salt itself
    # leaves a lone private key of an interrupted run as it is.
    rm -rf "$directory.new"
    install -d -m 700 "$directory.new"
    "$PREFIX/bin/python" -c 'import sys, salt.crypt; salt.crypt.write_keys(*sys.argv[1:3], 4096)' \
        "$directory.new" "$1"
    mv -f "$directory.new/$1.pem" "$directory/$1.pem"
    mv -f "$directory.new/$1.pub" "$directory/$1.pub"
    rmdir "$directory.new"
}

# --- Commands ----------------------------------------------------------------------------------

command=${1:-}
shift || true
ID='' ROLES='' MASTER='' ADDRESS='' TOPOLOGY=default FINGER='' POSITIONAL=''
while [ $# -gt 0 ]; do
    case $1 in
    --id | --roles | --master | --address | --topology | --master-finger)
        [ $# -ge 2 ] || die "$1 wants a value; see 'bootstrap.sh --help'."
        case $1 in
        --id) ID=$2 ;;
        --roles) ROLES=$2 ;;
        --master) MASTER=$2 ;;
        --address) ADDRESS=$2 ;;
        --topology) TOPOLOGY=$2 ;;
        --master-finger) FINGER=$2 ;;
        esac
        shift 2
        ;;
    -*) die "unknown option $1; see 'bootstrap.sh --help'." ;;
    *)
        [ -z "$POSITIONAL" ] || die "unexpected argument $1; see 'bootstrap.sh --help'."
        POSITIONAL=$1
        shift
        ;;
    esac
done

need() { # need OPTION VALUE
    [ -n "$2" ] || die "$command wants $1; see 'bootstrap.sh --help'."
}

case $command in
-h | --help | help)
    usage
    exit
    ;;
'') usage >&2; exit 2 ;;
fingerprint)
    case $POSITIONAL in
    minion | master) fingerprint "$POSITIONAL" ;;
    *) die "fingerprint wants 'minion' or 'master'." ;;
    esac
    exit
    ;;
esac

[ "$(id -u)" = 0 ] || die "must run as root: use sudo."
# A run whose operator was killed goes on on the node: it finishes before the next one looks.
exec 9>/run/counterapp-bootstrap.lock
flock 9
SALT_CHANGED=no
MINION_CHANGED=no

case $command in
install) install_salt ;;
minion)
    need --id "$ID"; need --roles "$ROLES"; need --master "$MASTER"
    install_salt
    set_up_minion "$ID" "$ROLES" "$MASTER" "$TOPOLOGY"
    if [ -n "$FINGER" ]; then
        trust_master "$FINGER"
    elif [ -s "$ETC/minion.d/master_finger.conf" ]; then
        bring_up salt-minion "$MINION_CHANGED"
    else
        say "minion $ID is ready and waits for 'bootstrap.sh trust-master FINGERPRINT'"
    fi
    ;;
master)
    need --id "$ID"; need --address "$ADDRESS"
    for file in _cache/localfs_key.py fleet/__init__.py; do
        [ -r "$TREE/$file" ] ||
            die "$TREE has no $file, without which no master runs: put the repository's folders _cache, _modules, _runners, _states, _utils, fleet, pillar and salt there."
    done
    install_salt
    master_changed=$SALT_CHANGED
    fill master.conf "TOPOLOGY=$TOPOLOGY" | put "$ETC/master.d/counterapp.conf" && master_changed=yes
    # Both are read in place, so that nothing has to be done after a `git pull`: the package of what
    # only the master does, and its orchestrations. No revision has these.
    link "$(site_packages)/fleet" "$TREE/fleet" && master_changed=yes
    link /srv/counterapp-orchestrations/orch "$TREE/salt/orch" || true
    "$PREFIX/bin/python" "$HERE/make-secrets" "$ETC/counterapp/pillar/secrets"
    # None where the operator's own certificate is the first there is.
    authority=$ETC/counterapp/pillar/secrets/https_authority.crt
    [ ! -e "$authority" ] || trust_authority "$authority"
    # The pillar wants it, which is compiled before any change has moved a node.
    [ -e "$ETC/counterapp/pillar/moving.yaml" ] ||
        (umask 077 && put "$ETC/counterapp/pillar/moving.yaml" <<<'{}')
    set_up_unit salt-master
    [ "$UNIT_CHANGED" = no ] || master_changed=yes
    make_key master
    # The key store keeps none that wait or were denied: these are of a master before it had ours.
    for folder in "$ETC/pki/master/minions_pre" "$ETC/pki/master/minions_denied"; do
        [ ! -d "$folder" ] || find "$folder" -mindepth 1 -delete
    done
    bring_up salt-master "$master_changed"
    set_up_minion "$ID" master "$ADDRESS" "$TOPOLOGY"
    put "$ETC/minion.d/schedule.conf" <"$FILES/schedule.conf" && MINION_CHANGED=yes
    "$HERE/expect-key" "$ID" "$(fingerprint minion)"
    trust_master "$(fingerprint master)"
    ;;
trust-master)
    need FINGERPRINT "$POSITIONAL"
    [ -s "$ETC/minion_id" ] || die "this machine is no minion yet: run 'bootstrap.sh minion' first."
    trust_master "$POSITIONAL"
    ;;
*) die "unknown command '$command'; see 'bootstrap.sh --help'." ;;
esac
