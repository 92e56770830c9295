#!/usr/bin/env bash
# Tests Warpwright on this machine: on the GPU if there is one, on the emulator otherwise, and the one against the other.
# Needs an x86-64 Linux with tar and xz, or python3; for a GPU, NVIDIA's driver. Exits with 0 if all is well.
set -u
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

try() {
    echo "=== $*"
    "$@" || failed+=("$*")
}

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
for test in tests/*; do
    case $test in
    tests/data) ;;
    *) try "$test" ;;
    esac
done
try ./warpwright generate
try ./warpwright generate --device emulator

echo
if [ ${#failed[@]} -eq 0 ]; then
    echo "all passed"
else
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
