#!/bin/bash
# Tests an installed C interface: bash Tests/PenstockC/check.sh PREFIX
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: bash $0 PREFIX" >&2; exit 2; }
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")"
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings=(-Wall -Wextra -Wpedantic -Werror)
read -ra static <<<"$(pkg-config --cflags --libs penstock-static)"
read -ra shared <<<"$(pkg-config --cflags --libs penstock)"

echo "=== What is declared is what is exported"
# That each has the declared types the compiler has seen to: all are \`@implementation\` of the header.
sed -n 's/^[a-z].*[ *]\(penstock_[a-z_]*\)(.*/\1/p' "$prefix/include/penstock.h" | sort >"$work/declared"
[ -s "$work/declared" ] || fail "the header declares nothing"
nm -D --defined-only "$prefix/lib/libpenstock.so" | awk '{ print $3 }' | sort >"$work/shared"
nm --extern-only --defined-only "$prefix/lib/libpenstock.a" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort >"$work/static"
for form in shared static; do
    diff "$work/declared" "$work/$form" || fail "the $form library and the header differ"
done
echo "$(wc -l <"$work/declared") functions"

echo "=== The header is C11 and C++11"
echo '#include <penstock.h>' >"$work/header.c"
cp "$work/header.c" "$work/header.cpp"
for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    $compiler -std=c11 "${warnings[@]}" -I"$prefix/include" -fsyntax-only "$work/header.c"
    ${compiler/gcc/g}++ -std=c++11 "${warnings[@]}" -I"$prefix/include" -fsyntax-only "$work/header.cpp"
done

echo "=== A host in C, linked statically"
gcc -std=gnu11 -O1 -g "${warnings[@]}" host.c -o "$work/host" "${static[@]}"
ldd "$work/host"
if ldd "$work/host" | grep -i swift; then fail "a Swift library is needed"; fi
ls -l "$work/host"
mkdir "$work/files"
timeout 300 "$work/host" "$work/files"

echo "=== The same with the shared library"
gcc -std=gnu11 -O1 -g "${warnings[@]}" host.c -o "$work/host-shared" "${shared[@]}"
timeout 300 "$work/host-shared" "$work/files" >"$work/log" || { cat "$work/log"; fail "with the shared library"; }
tail -n 1 "$work/log"

echo "=== The same under the address sanitizer: nothing is left behind"
gcc -std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined "${warnings[@]}" host.c \
    -o "$work/host-asan" "${static[@]}"
timeout 600 "$work/host-asan" "$work/files" >"$work/log" 2>&1 || { tail -n 100 "$work/log"; fail "under the sanitizer"; }
tail -n 1 "$work/log"

echo "=== A host in C++"
for compiler in g++ clang++; do
    command -v $compiler >/dev/null || continue
    $compiler -std=c++11 -O1 -g "${warnings[@]}" host.cpp -o "$work/host-cpp" "${static[@]}"
    timeout 300 "$work/host-cpp" "$work/files"
done

echo "=== Reads that are decoded"
gcc -std=gnu11 -O1 -g "${warnings[@]}" encoded.c -o "$work/encoded" "${static[@]}"
timeout 300 "$work/encoded" "$work/files"

# Builds a test that uses a device and runs it under the validation layers, which must have nothing to say; and again under
# the sanitizers, without the layers, whose own leaks are many. Arguments: its name.
on_a_device() {
    gcc -std=gnu11 -O1 -g "${warnings[@]}" "$1.c" -o "$work/$1" "${static[@]}"
    VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation \
        VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT \
        timeout 300 "$work/$1" "$work/files" >"$work/log" 2>&1 || { cat "$work/log"; fail "$1"; }
    cat "$work/log"
    # One message is about the layers themselves, which take a host's signal into account too late: "This is most likely a
    # validation bug".
    if grep -v 'UNASSIGNED-VkSemaphore-state-timeout' "$work/log" | grep -Eq 'VUID|Validation|SYNC-HAZARD'; then
        fail "the validation layers have something to say"
    fi
    gcc -std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined \
        -Wl,--export-dynamic-symbol=dlclose "${warnings[@]}" "$1.c" -o "$work/$1-asan" "${static[@]}"
    timeout 300 "$work/$1-asan" "$work/files" >"$work/log" 2>&1 ||
        { tail -n 100 "$work/log"; fail "$1 under the sanitizers"; }
    echo "... and under the sanitizers"
}

echo "=== A device"
on_a_device device

echo "=== What others have got wrong"
on_a_device peers

echo "=== Every compression, from every source into every place"
on_a_device decoded

echo "=== Timeline semaphores"
on_a_device points

echo "=== Every function and struct"
on_a_device surface

echo "=== What a host plugs in"
on_a_device hooks

echo "=== Images"
on_a_device images

echo "=== A driver that fails"
on_a_device lost

echo "=== Closing at any moment"
on_a_device closing
# Once more without the layers, which hide whether memory grows.
timeout 300 "$work/closing" "$work/files"

echo "=== What a request costs"
gcc -std=gnu11 -O2 "${warnings[@]}" overhead.c -o "$work/overhead" "${static[@]}"
timeout 300 "$work/overhead" "$work/files" 1000000
