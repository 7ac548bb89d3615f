#!/bin/sh
# What pinthesky-first-boot.service runs, as root, until it has come to its end once: it makes an environment for pitsctl,
# lets the camera register itself (the code is in the log, on a screen, on the LED, and in log.txt on the card's boot
# partition), installs it, and takes itself away. Each part may be cut off and is begun again.
# PINTHESKY_ROOT stands before every path of the system; tests set it.
set -eu
root=${PINTHESKY_ROOT:-}
state=$root/var/lib/pinthesky-first-boot
environment=$state/environment
log=$(cat "$state/boot-folder" 2>/dev/null || echo "$state")/log.txt
LOG_MAX=100000

# On the boot partition too: a camera that does not come into the network can be asked by putting its card into a reader.
say() {
    echo "$1"
    if [ "$(wc -c 2>/dev/null <"$log" || echo 0)" -lt "$LOG_MAX" ]; then
        echo "$(date '+%Y-%m-%d %H:%M:%S') $1" 2>/dev/null >>"$log" || true
    fi
}

pipe() {
    while IFS= read -r line; do say "$line"; done
}

# Exit code 2 is not tried again by the unit: only a person can change what is wrong.
never() {
    say "$1"
    exit 2
}

# Runs a program, says its lines, and ends with its exit code; plain sh knows no pipefail.
told() {
    code=0
    { "$@" 2>&1 || echo $? >"$state/code"; } | pipe
    if [ -e "$state/code" ]; then
        read -r code <"$state/code"
        rm -f "$state/code"
    fi
    return "$code"
}

# Writes the list of pinned libraries; exit code 2 where there is none for this machine.
unpack_list() {
    "$environment/bin/python" - "$wheel" "$state" <<'PYTHON'
# The wheel brings the hashes of what it needs, and says itself which list is for which machine.
import sys, zipfile
wheel, state = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    known = {}
    exec(compile(archive.read("pinthesky/machine/pinned.py"), "pinned.py", "exec"), known)
    name = known["list_name"](known["architecture_here"](), "%d.%d" % sys.version_info[:2], for_pitsctl=True)
    found = [entry for entry in archive.namelist() if entry.endswith("/share/pinthesky/requirements/" + name)]
    if not found:
        sys.exit(2)
    with open(state + "/requirements.txt", "wb") as pins:
        pins.write(archive.read(found[0]))
PYTHON
}

install_pitsctl() {
    rm -rf "$environment"
    told python3 -m venv "$environment" || return 1
    unpack_list || return
    pip="$environment/bin/python -m pip --disable-pip-version-check --no-input --quiet"
    # shellcheck disable=SC2086 # a command of several words
    told $pip install --require-hashes --only-binary=:all: --requirement "$state/requirements.txt" || return 1
    # shellcheck disable=SC2086 # the same
    told $pip install --no-deps --no-index "$wheel" || return 1
    touch "$environment/complete"
}

[ ! -e "$state/done" ] || exit 0
wheel=$(ls "$state"/pinthesky-*.whl)
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    never "This system's Python is older than 3.11: use Raspberry Pi OS of Debian 12 or newer, or pitsctl from a workstation"

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    say "Installing Debian's python3-venv"
    told apt-get -q -y -o DPkg::Lock::Timeout=600 update
    told env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 install python3-venv
fi
if [ ! -e "$environment/complete" ]; then
    say "Making an environment for pitsctl"
    code=0
    install_pitsctl || code=$?
    case $code in
    0) ;;
    2) never "There are no pinned libraries for this machine: install it with pitsctl from a workstation" ;;
    *)
        say "That did not work; once more in a minute"
        exit 1
        ;;
    esac
fi
say "Asking to be let in. Type the code below where it says; it changes every 15 minutes until somebody has"
told "$environment/bin/pitsctl" register --answers "$state/answers.yaml"
say "Installing"
told "$environment/bin/pitsctl" install --answers "$state/answers.yaml" --yes
say "Done: this is a camera now"
touch "$state/done"
systemctl disable pinthesky-first-boot.service || true
rm -rf "$environment" "$state"/*.whl "$state/requirements.txt"
