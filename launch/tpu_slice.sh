# shellcheck shell=bash disable=SC2154
# Sourced by tpu_pod.sh: one slice of TPUs, asked for, looked at, installed on, started on and given back.
# What is looked at is left in variables, so that errors can be counted and end the script.

folder=entropy_rl now='' unknown=0 code=''

on_workers() { # on_workers all|0 COMMAND
    act gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" "--worker=$1" "--command=$2"
}

look() { # look ASSUMED: sets now to ABSENT, UNKNOWN, or what the queue says: ACTIVE, SUSPENDED, FAILED, ...
    local said
    if said=$(ask "$1" gcloud compute tpus queued-resources describe "$name" "${place[@]}" \
        "--format=value(state.state)" 2>&1); then
        now=${said##*$'\n'} unknown=0
    elif [[ $said == *NOT_FOUND* ]]; then now=ABSENT unknown=0
    else
        now=UNKNOWN unknown=$((unknown + 1))
        echo "$said" >&2
        [ $unknown -lt 5 ] || die "gcloud has failed to describe the slice five times in a row, as above"
    fi
}

create() {
    [ -n "$type" ] || die "--type is needed to create a slice"
    case $runtime$type in
        v5p-*) runtime=v2-alpha-tpuv5 ;;
        v6e-*) runtime=v2-alpha-tpuv6e ;;
        v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
        "$type") die "--runtime is needed with --type $type" ;;
    esac
    act gcloud compute tpus queued-resources create "$name" "--node-id=$name" "${place[@]}" \
        "--accelerator-type=$type" "--runtime-version=$runtime" "${tier[@]}"
}

wait_for_slice() {
    while look ACTIVE; [ "$now" != ACTIVE ]; do
        echo "$(date +%T) $now" >&2
        [[ $now =~ ^(ACCEPTED|CREATING|WAITING_FOR_RESOURCES|PROVISIONING|UNKNOWN)$ ]] || return
        sleep "$poll_seconds"
    done
}

install() {
    local get archive="/tmp/entropy_rl-$name.tar.gz"
    if [ -n "$revision" ]; then
        repository=${repository:-$(git config --get remote.origin.url)} || return
        get="{ [ -d $folder ] || git clone -q $(words "$repository") $folder; } && \
git -C $folder fetch -q && git -C $folder checkout -q $(words "$revision")"
    else
        act bash -o pipefail -c \
            "git ls-files -zco --exclude-standard | tar --null -czf $(words "$archive") -T -" || return
        act gcloud compute tpus tpu-vm scp "$archive" "$name:entropy_rl.tar.gz" "${place[@]}" --worker=all ||
            return
        get="mkdir -p $folder && tar -xzf entropy_rl.tar.gz -C $folder"
    fi
    # uv brings a Python of its own: the images of TPUs have an older one than is needed.
    on_workers all "$get && cd $folder && curl -LsSf https://astral.sh/uv/install.sh | sh -s -- -q && \
export PATH=\$HOME/.local/bin:\$PATH && uv venv -q --allow-existing --python 3.12 .venv && \
uv pip install -q -e '.[tpu,gcs]'${setup:+ && $setup}"
}

start() { # Log and exit code stay in files, so that this connection may end. Never two at once on a machine.
    on_workers all "cd $folder && rm -f exit_code && { (flock -w 120 9 || exit; rm -f exit_code; \
trap '' HUP; trap : TERM; .venv/bin/python -m entropy_rl train $(words "$@") >> train.log 2>&1 9>&-; \
echo \$? > exit_code) 9> lock < /dev/null > /dev/null 2>&1 & }"
}

look_at_training() { # Sets code to machine 0's; RUNNING, or GONE when the slice has been taken away.
    look ACTIVE
    case $now in
        ACTIVE) code=$(ask 0 gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker=0 \
            "--command=cat $folder/exit_code 2>/dev/null || echo RUNNING" 2>/dev/null) || code=RUNNING ;;
        UNKNOWN) code=RUNNING ;;
        *) code=GONE ;;
    esac
}

taken_away() { # The machines of a slice do not go all at once, and training fails when the first has gone.
    local i
    for i in 1 2 3; do
        echo "Training failed with exit code $code; is the slice being taken away? ($i of 3)" >&2
        sleep "$((poll_seconds / 2))"
        look ACTIVE
        [[ $now =~ ^(ACTIVE|UNKNOWN)$ ]] || return 0
    done
    return 1
}

delete() { act gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet; }
