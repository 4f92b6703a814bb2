# shellcheck shell=bash
# Sourced by tpu_pod.sh and gpu.sh: commands that a dry run prints instead of issuing them. Set dry=1 for one.

words() { # The command as it could be typed.
    local word line=()
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_.,:=@%/+-]+$ ]]; then line+=("$word"); else line+=("${word@Q}"); fi
    done
    echo "${line[*]}"
}

act() { # Does it; in a dry run only says it.
    if [ -n "$dry" ]; then words "$@"; else "$@"; fi
}

ask() { # ask ANSWER COMMAND...: what the command prints; in a dry run it is taken to print ANSWER.
    if [ -n "$dry" ]; then words "${@:2}" >&3; echo "$1"; else "${@:2}"; fi
}
exec 3>&1
