#!/bin/sh
# Builds .venv from requirements.lock and installs the project into it, editable.
# Says in one line each what this machine lacks; otherwise silent when there is nothing to do.
# PYTHON=python3.12 chooses the interpreter; without it any suitable one, or the one .venv already has.
set -eu
cd "$(dirname "$0")/.."

NEED_MB=2048
missing=0

lacking() {
    echo "bootstrap: $*" >&2
    missing=1
}

# Prints major.minor when $1 runs and is in range. pyenv leaves commands on PATH that don't run, so try it for real.
version_of() {
    "$1" -c 'import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13): sys.exit(1)
print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

has_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# Sets python, or says why there is none. A PYTHON that was asked for is never silently replaced by another.
find_python() {
    python=
    without_venv=
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        version=$(version_of "$candidate") || continue
        if has_venv "$candidate"; then
            python=$candidate
            return
        fi
        without_venv=${without_venv:-$version}
    done
    if [ -n "$without_venv" ]; then
        lacking "Python $without_venv has no venv (on Debian: apt-get install python3-venv python$without_venv-venv)"
    elif [ -n "${PYTHON:-}" ]; then
        lacking "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 that runs"
    else
        lacking "no Python 3.11, 3.12 or 3.13 found (on Debian: apt-get install python3 python3-venv)"
    fi
}

check_space() {
    free_mb=$(df -Pm "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
    if [ "${free_mb:-0}" -lt "$NEED_MB" ]; then
        lacking "less than 2 GB of free disk in $1 (${free_mb:-0} MB)$2"
    fi
}

check_machine() {
    [ "$(uname -s)" = Linux ] || lacking "Shoal runs on Linux, this is $(uname -s)"
    command -v git >/dev/null || lacking "git is missing (on Debian: apt-get install git)"
    command -v make >/dev/null || lacking "make is missing (on Debian: apt-get install make)"
    check_space . ""
    check_space "${TMPDIR:-/tmp}" "; TMPDIR can point somewhere else"
}

# What .venv is made for: the lock, the project, the place (venvs can't be moved) and the interpreter.
fingerprint() {
    cksum requirements.lock pyproject.toml
    pwd
    .venv/bin/python -c 'import sys; print(sys.version)'
}

wanted_version() {
    [ -n "${PYTHON:-}" ] || return 0
    version_of "$PYTHON" || echo none
}

venv_usable() {
    venv_version=$(version_of .venv/bin/python) || return 1
    wanted=$(wanted_version)
    [ -z "$wanted" ] || [ "$wanted" = "$venv_version" ]
}

up_to_date() {
    [ -f .venv/shoal-stamp ] && venv_usable && [ "$(fingerprint)" = "$(cat .venv/shoal-stamp)" ]
}

built_here() {
    venv_usable && [ -x .venv/bin/pip ] && head -n 1 .venv/bin/pip | grep -qF "$(pwd)/.venv/"
}

install() {
    { built_here || "$python" -m venv --clear .venv; } &&
        rm -f .venv/shoal-stamp &&
        .venv/bin/python -m pip --disable-pip-version-check install -r requirements.lock &&
        .venv/bin/python -m pip --disable-pip-version-check install --no-deps -e .
}

# Two makes at once take turns.
if command -v flock >/dev/null; then
    exec 9<scripts/bootstrap.sh
    flock 9
fi

check_machine
if up_to_date; then
    exit "$missing"
fi
find_python
[ "$missing" -eq 0 ] || exit 1

echo "building .venv (about a minute, until the dependencies change)" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install >"$log" 2>&1; then
    cat "$log" >&2
    echo "bootstrap: building .venv failed, see above" >&2
    exit 1
fi
fingerprint >.venv/shoal-stamp
