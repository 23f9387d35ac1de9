#!/bin/sh
# Compiles everything once with clang, warnings as errors: build_clang.sh CLANG SOURCE FOLDER
# Without optimisation, because only the warnings are wanted.
set -eu
mkdir -p "$3"
cmake -S "$2" -B "$3" -DCMAKE_C_COMPILER="$1" -DCMAKE_BUILD_TYPE=Debug >"$3/configure.log" 2>&1 || {
    cat "$3/configure.log"
    exit 1
}
exec cmake --build "$3" -j "$(nproc)"
