#!/bin/sh
# Puts pitsctl onto this workstation, from the checkout that this file lies in:
#     ./service/bootstrap.sh             or again, after a `git pull`: the new one takes the old one's place
#     ./service/bootstrap.sh --remove    takes it away
# Nothing needs root. An environment of its own goes to ~/.local/share/pitsctl, a link to ~/.local/bin. What is there
# stays as it was until the new one has been made and has started once.
set -eu
checkout=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
share=${XDG_DATA_HOME:-$HOME/.local/share}/pitsctl
programs=$HOME/.local/bin
link=$programs/pitsctl

stop() {
    printf 'bootstrap: %s\n' "$1" >&2
    exit 1
}

is_ours() {
    case $(readlink "$link" 2>/dev/null || true) in
    "$share"/*) return 0 ;;
    *) return 1 ;;
    esac
}

case ${1:-} in
'') ;;
--remove)
    if is_ours; then rm -f "$link"; fi
    rm -rf "$share"
    echo "pitsctl is gone. What it has installed on cameras goes by: pitsctl remove, before this."
    exit 0
    ;;
*) stop "knows --remove, and nothing else" ;;
esac

if [ -e "$link" ] || [ -L "$link" ]; then
    is_ours || stop "$link is there already and is not from here: move it out of the way"
fi

python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || stop "needs Python 3.11 or newer. On Debian: sudo apt-get install python3 python3-venv"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "this Python cannot make environments. On Debian: sudo apt-get install python3-venv"

mkdir -p "$share" "$programs"
environment=$(mktemp -d "$share/environment.XXXXXX")
build=$(mktemp -d)
kept=no
tidy() {
    rm -rf "$build"
    [ "$kept" = yes ] || rm -rf "$environment"
}
trap tidy EXIT
trap 'exit 1' HUP INT TERM

# Built from a copy: what an earlier build has left in the checkout would slip in.
mkdir -p "$build/source/docs" "$build/source/console" "$build/wheel"
for part in pinthesky service docs/reference setup.py pyproject.toml README.md LICENSE NOTICE MANIFEST.in; do
    cp -R "$checkout/$part" "$build/source/$part"
done
if [ -d "$checkout/console/dist" ]; then cp -R "$checkout/console/dist" "$build/source/console/dist"; fi

pip() {
    "$environment/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"
}
echo "bootstrap: an environment in $environment"
"$python" -m venv "$environment"
echo "bootstrap: the package, and what pitsctl needs"
pip wheel --no-deps --wheel-dir "$build/wheel" "$build/source"
wheel=$(echo "$build"/wheel/pinthesky-*.whl)
# With the hashes of everything where the checkout has them for this system, else within the bounds of setup.py.
list=$("$environment/bin/python" - "$checkout" <<'PYTHON'
import pathlib, runpy, sys
checkout = pathlib.Path(sys.argv[1])
known = runpy.run_path(str(checkout / "pinthesky" / "machine" / "pinned.py"))
architecture = known["architecture_here"]()
name = architecture and known["list_name"](architecture, "%d.%d" % sys.version_info[:2], for_pitsctl=True)
path = name and checkout / "service" / "requirements" / name
print(path if path and path.exists() else "")
PYTHON
)
if [ -n "$list" ]; then
    pip install --require-hashes --only-binary=:all: --requirement "$list"
    pip install --no-deps "$wheel"
else
    pip install "${wheel}[ctl]"
fi
said=$("$environment/bin/pitsctl" --version) || stop "what was made does not start"

# A link that is made anew and renamed over the old one: there is no moment without one.
ln -s "$environment/bin/pitsctl" "$environment/link"
mv -f "$environment/link" "$link"
kept=yes
for old in "$share"/environment.*; do
    [ "$old" = "$environment" ] || rm -rf "$old"
done
echo "$said is in $link"
case :$PATH: in
*:"$programs":*) ;;
*) echo "$programs is not in the PATH of this shell. Either: export PATH=\"$programs:\$PATH\"" ;;
esac
