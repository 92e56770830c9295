#!/usr/bin/env bash
# Tests Warpwright on this machine, on the GPU if there is one and on the emulator otherwise, and measures the GPU.
#
#   run.sh [tests|kernels|models|bench|all] [FOLDER]
#
# tests:    every test: kernels and models against references, the emulator against the GPU, kernels that overlap against kernels
#           that do not. The default.
# kernels:  matrix products and attention, checked and measured beside a read and a copy of the same bytes.
# models:   tokens a second of models with random weights, at several depths, and each kernel of a token.
# bench:    kernels and models. all: everything.
#
# FOLDER, or what OUT names, or `results`, gets a log of each, tables, a roofline, and all results in results.json. Measuring
# takes a few minutes for each of `kernels` and `models`. Needs an x86-64 Linux with tar and xz, or python3; for a GPU,
# NVIDIA's driver. Exits with 0 if all is well.
set -u
what=${1:-tests}
results=${2:-${OUT:-results}}
case $what in
tests | kernels | models | bench | all) ;;
*)
    echo "usage: $0 [tests|kernels|models|bench|all] [FOLDER]" >&2
    exit 2
    ;;
esac
mkdir -p "$results" && results=$(cd "$results" && pwd) || exit 1
cd "$(dirname "$0")" || exit 1
if [ ! -d unpacked ]; then
    mkdir unpacked || exit 1
    tar -C unpacked -xJf bundle.tar.xz ||
        python3 -c 'import tarfile; tarfile.open("bundle.tar.xz").extractall("unpacked")' || {
        rm -rf unpacked
        exit 1
    }
fi
cd unpacked || exit 1
export WARPWRIGHT_ROOT=$PWD WARPWRIGHT_EMULATOR=$PWD/libwarpwright_emulator.so RUST_BACKTRACE=1
failed=()

# Runs a command with its output in a log. Of one that fails the end of the log is shown.
try() {
    local name=$1 start=$SECONDS
    shift
    echo "=== $*"
    if "$@" >"$results/$name.log" 2>&1; then
        echo "    passed in $((SECONDS - start)) s"
        passed=true
    else
        failed+=("$*")
        tail -n 60 "$results/$name.log"
        passed=false
    fi
    seconds=$((SECONDS - start))
}

tests() {
    local test name list=
    for test in tests/*; do
        [ "$test" = tests/data ] && continue
        name=${test#tests/}
        try "$name" "$test" --nocapture
        list="$list${list:+,}{\"name\":\"$name\",\"passed\":$passed,\"seconds\":$seconds}"
        # After each, for a run that is cut off.
        echo "[$list]" >"$results/tests.json"
    done
    try generate ./warpwright generate
    try generate-emulator ./warpwright generate --device emulator
}

kernels() {
    try kernels tests/warpwright-kernel_speed --bench --check --json "$results/kernels.json" --svg "$results/roofline.svg"
}

# A model of random weights: a shape, a format, and options.
model() {
    local name=$1 shape=$2 format=$3
    shift 3
    try "model-$name" ./warpwright bench --device gpu --shape "$shape" --format "$format" \
        "--json=$results/model-$name.json" "$@"
}

models() {
    for shape in 8b 4b 1.7b; do
        model "$shape-q1_0-tg" "$shape" q1_0 -p 0 -n 128 -d 0,4096,32768 --profile
        model "$shape-q1_0-pp" "$shape" q1_0 -p 128,512,4096 -n 0
    done
    for format in pq2_0 q2_0 ptq1_0; do
        model "8b-$format" 8b "$format" -p 512 -n 128
    done
    model 8b-q1_0-tg-kv-q8_0 8b q1_0 -p 0 -n 128 -d 4096,32768 --cache-type q8_0
    model 8b-q1_0-tg-no-overlap 8b q1_0 -p 0 -n 128 --no-overlap
}

# All results in one file, of this run and of those before it with the same folder.
collect() {
    local file list=
    for file in "$results"/model-*.json; do
        [ -f "$file" ] && list="$list${list:+,}$(cat "$file")"
    done
    or_null() { if [ -f "$1" ]; then cat "$1"; else echo null; fi; }
    printf '{"commit":"%s","tests":%s,"kernels":%s,"models":[%s]}\n' "$(cat commit)" \
        "$(or_null "$results/tests.json")" "$(or_null "$results/kernels.json")" "$list" >"$results/results.json"
}

command -v nvidia-smi >/dev/null &&
    nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit --format=csv | tee "$results/device.txt"
case $what in
bench) kernels && models ;;
all) tests && kernels && models ;;
*) "$what" ;;
esac
collect

echo
case $what in
kernels | bench | all) sed -n '/^at most/,$p' "$results/kernels.log" ;;
esac
case $what in
models | bench | all)
    # The first table of each, without the kernels of a token.
    for log in "$results"/model-*.log; do
        sed -n '/ on /,/^$/{/^memory: .*of weights/d;/^│/p;/ on /p;/GB\/s/p}' "$log" | sed '/us each/,$d'
    done
    ;;
esac
case $what in
tests | all) grep -hE "differ by at most|begin early" "$results"/*.log ;;
esac
echo "results: $results/results.json"
if [ ${#failed[@]} -eq 0 ]; then
    echo "all passed"
else
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
