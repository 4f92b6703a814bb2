# shellcheck shell=bash
# Sourced by the scripts beside it: goes to the repository's root and makes sure that .venv there holds what
# requirements.txt asks for. A copy of the requirements inside .venv tells whether they have changed since.
# PYTHON=/path/to/python3.12 ./launch/local.sh chooses the interpreter when .venv is made.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

fit() { # Does it run (a shim may not), is it 3.11 or later, and can it make virtual environments?
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        if fit "$PYTHON"; then echo "$PYTHON"; fi
        return
    fi
    for candidate in python3.12 python3.11 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
        if fit "$candidate"; then echo "$candidate"; return; fi
    done
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! cmp -s requirements.txt .venv/requirements.txt; then
    python="$(find_python)"
    if [ -z "$python" ]; then
        echo "A Python >= 3.11 with venv and ensurepip is needed, ${PYTHON:-none on the PATH or in pyenv} is not" \
            "one; install it (Debian: python3-venv too) or name one by PYTHON=/path/to/python3." >&2
        exit 1
    fi
    echo "Installing requirements.txt into .venv ($("$python" --version)); the first time takes minutes." >&2
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt .venv/requirements.txt
fi
