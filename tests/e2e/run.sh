#!/usr/bin/env bash
# `make e2e`: a docker daemon of its own, the image from the Dockerfile, act in consumer repositories, docker alone.
# Leaves nothing behind. KEEP=1 LAB=FOLDER keeps the daemon and its images there for the next run.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
VENV=$ROOT/.venv-e2e
LAB=${LAB:-$(mktemp -d)} # not below the repository, which is what images are built from
export LAB
export DOCKER=${DOCKER:-/usr/bin/docker} DOCKER_HOST=unix://$LAB/docker.sock DOCKER_BUILDKIT=1

if [ ! -f "$VENV/.ready" ] || [ "$ROOT/requirements/e2e.txt" -nt "$VENV/.ready" ]; then
    "${PYTHON:-python3.11}" -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$ROOT/requirements/e2e.txt"
    touch "$VENV/.ready"
fi

[ -n "${KEEP:-}" ] || trap '"$HERE/lab.sh" down' EXIT
"$HERE/lab.sh" up
"$HERE/lab.sh" base
"$HERE/lab.sh" image cpu llavavit-verify:e2e
"$DOCKER" tag python:3.11-slim-bookworm debian:bookworm-slim
"$DOCKER" tag llavavit-verify:e2e act-org-llavavit-verify-v1-dockeraction:latest
"$DOCKER" image inspect --format 'the image takes {{.Size}} bytes' llavavit-verify:e2e
cd "$HERE"
"$VENV/bin/python" -m pytest -c /dev/null --rootdir . -p no:cacheprovider -q --durations=5 e2e.py "$@"
