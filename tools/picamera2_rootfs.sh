#!/bin/sh
# Makes .rootfs/debian13: a Debian 13 root file system in which the real picamera2 runs on libcamera's virtual camera.
# tests/picamera2 runs inside it. Needs root, mmdebstrap and the network; takes about a minute and 400 MB.
#   tools/picamera2_rootfs.sh            make it, or make it anew where this recipe or the requirements have changed
#   tools/picamera2_rootfs.sh --check    exit 0 when there is nothing to do
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
folder=$here/.rootfs
root=$folder/debian13
scene=$here/tests/picamera2/virtual.yaml

# The library with the versions of what it needs; the rest is what setup.py says.
library="picamera2==0.3.38 simplejpeg==1.9.0 piexif==1.1.3 videodev2==0.0.4 pillow==11.1.0"

# Of setup.py only what is installed in there counts: other requirements change without making it out of date.
needs=$(python3 -c 'import runpy, sys; needs = runpy.run_path(sys.argv[1])
print([needs[name] for name in ("DEVICE", "VIDEO", "TEST_DEVICE")], [need for need in needs["TEST"] if "coverage" in need])' \
    "$here/setup.py")
recipe=$( (cat "$0" "$scene"; echo "$needs") | sha256sum | cut -d' ' -f1)
if [ "$(cat "$root/.recipe" 2>/dev/null)" = "$recipe" ]; then
    exit 0
fi
if [ "${1:-}" = --check ]; then
    exit 1
fi
if [ "$(id -u)" != 0 ] || ! command -v mmdebstrap >/dev/null; then
    echo "picamera2: root and mmdebstrap (Debian package) are needed to make $root" >&2
    exit 1
fi

mkdir -p "$folder"
echo '*' > "$folder/.gitignore"
rm -rf "$root"
# jsonschema and libarchive are for the library's part for the IMX500.
mmdebstrap --quiet --variant=apt \
    --include=python3-libcamera,python3-prctl,python3-venv,ca-certificates,python3-jsonschema,python3-libarchive-c \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --aptopt='Acquire::Languages "none"' trixie "$root"
# So that what reaches the network here reaches it there.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

chroot "$root" python3 -m venv --system-site-packages /venv
cp "$here/setup.py" "$root/tmp/setup.py"
# shellcheck disable=SC2086 # one word for each package
chroot "$root" env PIP_CERT=/etc/ssl/certs/ca-certificates.crt /venv/bin/python - $library <<'PYTHON'
import runpy, subprocess, sys
needs = runpy.run_path("/tmp/setup.py")
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
coverage = [need for need in needs["TEST"] if need.startswith("coverage")]
subprocess.run([*pip, *needs["DEVICE"], *needs["VIDEO"], *needs["TEST_DEVICE"], *coverage], check=True)
# Of its own requirements the library needs only these here; the others are for screens.
subprocess.run([*pip, "--no-deps", *sys.argv[1:]], check=True)
PYTHON

mkdir -p "$root/usr/share/libcamera/pipeline/virtual" "$root/srv/scene"
cp "$scene" "$root/usr/share/libcamera/pipeline/virtual/virtual.yaml"
# libcamera wants a picture; what the camera shows is painted by tests/picamera2/virtual_camera.py.
chroot "$root" /venv/bin/python -c 'from PIL import Image; Image.new("RGB", (64, 48)).save("/srv/scene/0.jpg")'
rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/root/.cache"
echo "$recipe" > "$root/.recipe"
