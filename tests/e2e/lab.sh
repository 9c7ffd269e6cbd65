#!/usr/bin/env bash
# A Docker daemon of its own, stand-in base images and the Action's image, for the end-to-end tests.
#
#   lab.sh up | base | image FLAVOUR TAG | down
#
# Everything lives under $LAB, a folder of a short name, and goes with `down`. No image registry is asked: where
# none can be reached, the base that the Dockerfile names is made here from Debian's packages and tagged like it.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
: "${LAB:?the folder to live in}"
[ ${#LAB} -lt 95 ] || { echo "lab.sh: $LAB is too long for a socket in it; set LAB to a shorter folder" >&2; exit 2; }
BASE=python:3.11-slim-bookworm
DOCKER=${DOCKER:-/usr/bin/docker}
export DOCKER_HOST=unix://$LAB/docker.sock DOCKER_BUILDKIT=1

packages() { # what the lab itself needs, on Debian
    local missing=()
    [ -x /usr/sbin/dockerd ] || missing+=(docker.io containerd runc iptables)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    [ ${#missing[@]} -eq 0 ] || {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    }
}

up() {
    packages
    mkdir -p "$LAB"
    if [ -S "$LAB/docker.sock" ] && "$DOCKER" info >/dev/null 2>&1; then return; fi
    setsid /usr/sbin/dockerd --data-root "$LAB/root" --exec-root "$LAB/exec" --pidfile "$LAB/docker.pid" \
        -H "unix://$LAB/docker.sock" >"$LAB/dockerd.log" 2>&1 </dev/null &
    for _ in $(seq 100); do
        if "$DOCKER" info >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "lab.sh: the docker daemon did not start:" >&2
    tail -20 "$LAB/dockerd.log" >&2
    return 1
}

base() {
    "$DOCKER" image inspect "$BASE" >/dev/null 2>&1 || {
        # the machine's own certificates and pip configuration travel in the stand-in, so that the Dockerfile needs none
        mmdebstrap --variant=minbase --quiet --aptopt='APT::Install-Recommends "false"' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
            --include=ca-certificates,python3,python3-pip,python3-venv,python-is-python3 \
            --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
            --customize-hook='cp -r /usr/local/share/ca-certificates/. "$1"/usr/local/share/ca-certificates/ 2>/dev/null || true' \
            --customize-hook='chroot "$1" update-ca-certificates' \
            --customize-hook='if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$1"/etc/pip.conf; fi' \
            bookworm - </dev/null | "$DOCKER" import -c 'CMD ["python3"]' - "$BASE" >/dev/null
    }
    "$DOCKER" image inspect local/wheels >/dev/null 2>&1 || {
        local folder=${PIP_FIND_LINKS:-}
        [ -d "$folder" ] || { folder=$LAB/no-wheels; mkdir -p "$folder"; }
        tar -C "$folder" -c . | "$DOCKER" import - local/wheels >/dev/null
    }
}

image() { # FLAVOUR TAG
    "$DOCKER" build --quiet --build-arg "FLAVOUR=$1" --build-arg WHEELS=local/wheels -t "$2" "$ROOT"
}

down() {
    [ -f "$LAB/docker.pid" ] || return 0
    local pid
    pid=$(cat "$LAB/docker.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 150); do
        [ -f "$LAB/docker.pid" ] || break
        sleep 0.2
    done
    umount "$LAB"/exec/netns/* 2>/dev/null || true # of containers that host networking left
    rm -rf "$LAB"
}

case "${1:-}" in
    up | base | down) "$1" ;;
    image) image "$2" "$3" ;;
    *) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
