#!/bin/sh
# Puts what the image needs into a folder, for a machine that need not be this one: nothing of it is run, so an image for
# a Raspberry Pi is made on any machine without an emulator.
#     libraries.sh arm64|amd64 PYTHON FOLDER REQUIREMENTS WHEEL
set -eu
architecture=$1 python=$2 folder=$3 requirements=$4 wheel=$5
case $architecture in
arm64) machine=aarch64 ;;
amd64) machine=x86_64 ;;
*)
    echo "libraries: no image for $architecture: the library under the device client is for 64-bit machines" >&2
    exit 2
    ;;
esac
set --
minor=41 # Debian 13's
while [ "$minor" -ge 17 ]; do
    set -- "$@" --platform "manylinux_2_${minor}_$machine"
    minor=$((minor - 1))
done
# One list and one run: a second one would leave out what of the wheel goes into folders that are there already.
list=$(mktemp)
trap 'rm -f "$list"' EXIT
cat "$requirements/$architecture-python$python.txt" >"$list"
printf '%s --hash=sha256:%s\n' "$wheel" "$(sha256sum "$wheel" | cut -d ' ' -f 1)" >>"$list"
python3 -m pip --disable-pip-version-check --no-input --quiet install --target "$folder" --no-deps --require-hashes \
    --only-binary=:all: --implementation cp --python-version "$python" \
    "$@" --platform "manylinux2014_$machine" --requirement "$list"
# Python that is compiled now need not be compiled at each start in a container, which may write nothing.
python3 -m compileall -q "$folder"
