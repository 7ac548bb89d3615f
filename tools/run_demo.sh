#!/usr/bin/env bash
# Runs the daemon on $CAMERA with everything it keeps under run-data/, then lists the clips. No cloud is needed:
# without a bucket the clips stay on the disk.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin}
camera=${CAMERA:-tests/footage/people.mp4}

mkdir -p run-data/state run-data/spool
# What the device client would write to us is there, and empty.
touch run-data/event-input.json run-data/configure-output.json

if [ -f "$camera" ]; then
  echo "Watching $camera at its own pace; it ends by itself. Ctrl-C ends it earlier."
else
  echo "Watching $camera until Ctrl-C."
fi

code=0
trap : INT # Ctrl-C reaches the daemon, which closes its clip; this script lives on to list it
"$bin/pinthesky" --camera "$camera" --thing-name demo --rotation 0 \
  --state-dir run-data/state --spool-dir run-data/spool \
  --event-input run-data/event-input.json --event-output run-data/event-output.json \
  --configure-input run-data/configure-input.json --configure-output run-data/configure-output.json || code=$?
trap - INT

"$bin/python" tools/show_clips.py run-data/spool
exit "$code"
