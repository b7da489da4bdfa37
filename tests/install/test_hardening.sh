#!/bin/bash
# Each flag against exploits is seen in what was built: the compiler records its flags in the debug information, and
# their effects are in the machine code. That the test sees it when one is left out is shown with a sample, hardened.c.
set -euo pipefail

if [ -n "$SANITIZE$COVERAGE" ]; then
        echo "hardening: a build with $SANITIZE$COVERAGE has no fortified functions; the plain build is tested"
        exit 0
fi

fail() {
        echo "hardening: $*" >&2
        exit 1
}

processor=$(uname -m)
flags=(-fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero -D_FORTIFY_SOURCE=3)
[ "$processor" != x86_64 ] || flags+=(-fcf-protection=full)

# What `make` used, as words: the compiler, and its flags.
used=()
eval "used=($(cat "$BUILD/flags"))"

# Not all compilers have all flags.
has=()
for flag in "${flags[@]}"; do
        if [[ " ${used[*]} " == *" $flag "* ]]; then
                has+=("$flag")
        elif [[ $CC == *clang* ]]; then
                echo "hardening: $CC does not take $flag"
        else
                fail "the Makefile does not use $flag"
        fi
done

# Prints what the compiler left out of FILE: lacks_flags FILE
lacks_flags() {
        local flag
        readelf --wide --syms "$1" >symbols
        grep -q '__memcpy_chk\|__snprintf_chk\|__vsnprintf_chk' symbols || echo "-D_FORTIFY_SOURCE=3"
        grep -q __stack_chk_fail symbols || echo "-fstack-protector-strong"
        readelf --wide --debug-dump=info --dwarf-depth=1 "$1" | sed -n 's/.*DW_AT_producer.*: //p' >producers
        [ -s producers ] || fail "$1 has no debug information"
        # clang records none.
        for flag in "${has[@]}"; do
                [[ $flag == -D* ]] || ! grep -q 'GNU C' producers || ! grep -vqF -e "$flag" producers || echo "$flag"
        done
        [ "$processor" = x86_64 ] || return 0
        # Functions begin with a mark that indirect jumps may reach. (Some of the C library's, in each program, do not.)
        objdump --disassemble --no-show-raw-insn "$1" >code
        awk '/^[0-9a-f]+ <[a-z][a-z_0-9]+>:$/ && !/tm_clones|frame_dummy/ { getline; n++; marked += /endbr64/ } END { exit marked * 2 < n || n == 0 }' code ||
                echo "-fcf-protection=full"
}

# What the linker left out.
lacks_links() {
        readelf --wide --dynamic --file-header --program-headers "$1" >headers
        grep -q BIND_NOW headers || echo "-z now"
        grep -q GNU_RELRO headers || echo "-z relro"
        grep GNU_STACK headers | grep -q 'RW ' || echo "-z noexecstack"
        grep -q 'Type: *DYN' headers || echo "-pie"
}

for program in gramd gramctl libgram.so libgram.a; do
        lacks_flags "$BUILD/$program" >lacking
        [[ $program == *.a ]] || lacks_links "$BUILD/$program" >>lacking
        [ ! -s lacking ] || fail "$program was built without $(sort -u lacking | paste -sd ' ')"
done

# ---- what is left out is seen ----

sample=$SOURCE/tests/install/hardened.c

# with LEFT_OUT WORD...: the sample, linked as WORD... say.
with() {
        local words=() word
        for word in "${used[@]}"; do
                [ "$word" = "$1" ] || words+=("$word")
        done
        shift
        "${words[@]}" -o sample "$sample" "$@"
}

sees() {
        grep -qxF -e "$1" lacking || fail "the test does not see that $1 is left out: $(cat lacking)"
}

with nothing -fPIC -shared
{ lacks_flags sample && lacks_links sample; } >lacking
[ ! -s lacking ] || fail "the sample lacks $(cat lacking)"
for flag in "${has[@]}"; do
        # clang: its effect on the sample is in the code, and not looked for.
        [[ $CC != *clang* || $flag != @(-fstack-clash-protection|-ftrivial-auto-var-init=zero) ]] || continue
        with "$flag" -fPIC -shared
        lacks_flags sample >lacking
        sees "$flag"
done
with -D_FORTIFY_SOURCE=3 -D_FORTIFY_SOURCE=2 -fPIC -shared
lacks_flags sample >lacking
sees -D_FORTIFY_SOURCE=3
with -Wl,-z,relro,-z,now -Wl,-z,norelro,-z,lazy,-z,execstack -no-pie -fno-pie -Wl,--entry=0 -nostartfiles
lacks_links sample >lacking
for option in '-z now' '-z relro' '-z noexecstack' -pie; do
        sees "$option"
done
