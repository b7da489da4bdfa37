# What bash completes after `gramctl`; gramctl itself knows it. Where it knows nothing, files are offered.

_gramctl()
{
        local word words
        mapfile -t words < <(gramctl --complete "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null)
        COMPREPLY=()
        for word in "${words[@]}"; do
                COMPREPLY+=("$(printf %q "$word")")
        done
}

complete -o default -F _gramctl gramctl
