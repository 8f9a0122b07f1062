#!/bin/sh
# Compiles bundled-types.c with clang-19 and writes its BTF as bundled-btf-data.ts, which is committed.
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
btf=$(mktemp)
trap 'rm -f "$object" "$btf"' EXIT
clang-19 -target bpf -O2 -g -Wall -Werror -fdebug-compilation-dir=. -c bundled-types.c -o "$object"
llvm-objcopy-19 --dump-section ".BTF=$btf" "$object" /dev/null
{
	echo '/** The BTF of bundled-types.c, written by bundle-btf.sh. */'
	printf "export const BUNDLED_BTF_BASE64 =\n  '"
	base64 -w 0 "$btf"
	printf "';\n"
} >bundled-btf-data.ts
