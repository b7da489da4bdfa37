#!/bin/sh
# Each flag against exploits is seen in what was built: the compiler records its flags in the debug information, and
# their effects are in the machine code.
set -eu

if [ -n "$SANITIZE$COVERAGE" ]; then
        echo "hardening: a build with $SANITIZE$COVERAGE has no fortified functions; the plain build is tested"
        exit 0
fi

fail() {
        echo "hardening: $*" >&2
        exit 1
}

# Not all compilers have all flags: of the others, $BUILD/flags says what the Makefile found.
expect() {
        grep -qwF -e "$1" "$BUILD/flags" && return
        case $CC in
        *clang*) echo "hardening: $CC does not take $1" ;;
        *) fail "the Makefile does not use $1" ;;
        esac
}

processor=$(uname -m)
for flag in -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero -D_FORTIFY_SOURCE=3; do
        expect $flag
done
[ "$processor" != x86_64 ] || expect -fcf-protection=full

for program in gramd gramctl libgram.so; do
        readelf --wide --dyn-syms "$BUILD/$program" >symbols
        grep -q '__memcpy_chk\|__snprintf_chk\|__vsnprintf_chk' symbols || fail "$program calls no fortified function"
        grep -q __stack_chk_fail symbols || fail "$program does not check its stack"
        readelf --wide --dynamic --program-headers "$BUILD/$program" >headers
        grep -q BIND_NOW headers || fail "$program is not bound at its start"
        grep -q GNU_RELRO headers || fail "$program has no read-only relocations"
        grep 'GNU_STACK' headers | grep -q 'RW ' || fail "the stack of $program is executable"

        # Flags that stand in the record of the compiler, in each of gramd's own files.
        readelf --wide --debug-dump=info --dwarf-depth=1 "$BUILD/$program" | sed -n 's/.*DW_AT_producer.*: //p' >producers
        [ -s producers ] || fail "$program has no debug information"
        if grep -q 'GNU C' producers; then
                for flag in -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero; do
                        ! grep -vqF -e $flag producers || fail "a file of $program was compiled without $flag"
                done
        fi
        if [ "$processor" = x86_64 ]; then
                # Functions begin with a mark that indirect jumps may reach.
                objdump --disassemble --no-show-raw-insn "$BUILD/$program" >code
                awk '/^[0-9a-f]+ <[a-z_0-9]+>:$/ { name = $2; getline; n++; marked += /endbr64/ }
                        END { if (marked * 2 < n || n == 0) { print marked " of " n; exit 1 } }' code ||
                        fail "too few functions of $program begin with endbr64"
        fi
done
