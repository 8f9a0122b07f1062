#!/bin/sh
# Compiles the objects of the loader's tests. Needs clang-19; the objects are committed, so the tests do not.
set -eu
cd "$(dirname "$0")"
compile() {
	source=$1
	object=$2
	shift 2
	clang-19 -target bpf -mcpu=v3 -O2 -Wall -Werror -fdebug-compilation-dir=. -c "$source" -o "$object" "$@"
}
for source in maps data subprograms values core core-target kernel-functions exceptions thrown-in-loop mixed; do
	compile "$source.bpf.c" "$source.bpf.o" -g
done
compile legacy.bpf.c legacy.bpf.o
compile legacy.bpf.c legacy-iproute2.bpf.o -DIPROUTE2
