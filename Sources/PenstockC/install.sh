#!/bin/bash
# Builds the C interface and installs it into a prefix: bash Sources/PenstockC/install.sh PREFIX
#
#   PREFIX/include/penstock.h
#   PREFIX/lib/libpenstock.a        with the Swift runtime in it: a host links it and system libraries
#   PREFIX/lib/libpenstock.so       the same as a shared library, which exports penstock_… and nothing else
#   PREFIX/lib/pkgconfig/penstock.pc, penstock-static.pc
#
# Needs Swift 6.3, binutils and gcc (or clang, by CC). SWIFT_BUILD_FLAGS are for `swift build`, as `-j 1`.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: bash $0 PREFIX" >&2; exit 2; }
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
cc=${CC:-gcc}

# Of its own, since the Swift runtime is linked in another way than everywhere else.
scratch=.build/c-interface
flags=(-c release --static-swift-stdlib --scratch-path "$scratch")
read -ra more <<<"${SWIFT_BUILD_FLAGS:-}"
swift build "${flags[@]}" ${more[@]+"${more[@]}"} --product penstockc
library=$(swift build "${flags[@]}" --show-bin-path)/libpenstockc.a
runtime=$(swiftc -static-stdlib -print-target-info | sed -n 's/.*"runtimeResourcePath": *"\(.*\)".*/\1/p')/linux

work=$scratch/merged
rm -rf "$work"
mkdir -p "$work" "$prefix/include" "$prefix/lib/pkgconfig"

# One object of everything: the runtime's archives give what is needed of them, and `swiftrt.o`, which registers the types
# with the runtime when the program starts, cannot be left behind.
archives=()
for name in swift_Concurrency swiftSynchronization swift_StringProcessing swift_RegexParser swift_Builtin_float \
    swiftGlibc swiftSwiftOnoneSupport swiftCore dispatch BlocksRuntime; do
    [ -e "$runtime/lib$name.a" ] && archives+=("$runtime/lib$name.a")
done
ld -r --force-group-allocation -o "$work/all.o" "$runtime/$(uname -m)/swiftrt.o" \
    --whole-archive "$library" --no-whole-archive --start-group "${archives[@]}" --end-group

# Everything but the interface becomes local: a host may have the same names of its own.
sed -n 's/^[a-z].*[ *]\(penstock_[a-z_]*\)(.*/\1/p' "$here/include/penstock.h" >"$work/exports"
objcopy --keep-global-symbols="$work/exports" --strip-unneeded \
    --remove-section='.swift1_autolink_entries' --remove-section='.swift_modhash' "$work/all.o" "$work/penstock.o"
ar rcsD "$work/libpenstock.a" "$work/penstock.o"

system=(-luring -lzstd -llz4 -ldeflate -lstdc++ -lm -lpthread -ldl)
{ echo '{ global:'; sed 's/$/;/' "$work/exports"; echo 'local: *; };'; } >"$work/exports.map"
"$cc" -shared -s -o "$work/libpenstock.so.0" -Wl,-soname,libpenstock.so.0 -Wl,--version-script,"$work/exports.map" \
    -Wl,-z,defs -Wl,--as-needed "$work/penstock.o" "${system[@]}"

version=$(sed -n 's/.*PENSTOCK_MAKE_VERSION(\([0-9]*\), \([0-9]*\), \([0-9]*\))$/\1.\2.\3/p' "$here/include/penstock.h")
install -m 644 "$here/include/penstock.h" "$prefix/include/penstock.h"
install -m 644 "$work/libpenstock.a" "$prefix/lib/libpenstock.a"
install -m 755 "$work/libpenstock.so.0" "$prefix/lib/libpenstock.so.0"
ln -sf libpenstock.so.0 "$prefix/lib/libpenstock.so"
for form in penstock penstock-static; do
    if [ $form = penstock ]; then name=-lpenstock private=("${system[@]}") public=(); else
        name=-l:libpenstock.a public=("${system[@]}") private=()
    fi
    cat >"$prefix/lib/pkgconfig/$form.pc" <<PC
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: $form
Description: Files to memory and to the GPU at the speed of the machine
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} $name${public[*]:+ ${public[*]}}
Libs.private:${private[*]:+ ${private[*]}}
PC
done
printf 'installed into %s:\n' "$prefix"
(cd "$prefix" && ls -l include/penstock.h lib/libpenstock.a lib/libpenstock.so.0 lib/pkgconfig/penstock.pc lib/pkgconfig/penstock-static.pc)
