# The manual page of the configuration file: what `gramd --print-config` prints stands in for the @OPTIONS@ line
# of the page. Usage: gramd --print-config | awk -f options.awk - gramd.conf.5.in

function roff(text)
{
        gsub(/\\/, "\\e", text)
        gsub(/-/, "\\-", text)
        gsub(/\. /, ".\n", text)
        return text ~ /^[.']/ ? "\\&" text : text
}

# An option is a paragraph: its help as comments, then `name = value`, behind a `#` where it has no value.
FILENAME == "-" && /^\[access\]/ { nextfile }
FILENAME == "-" && /^(# )?[a-z-]+ =/ {
        sub(/^# /, "")
        options = options ".It Cm " roff($1) (NF > 2 ? " = " roff($3) : "") "\n" help
        help = ""
        next
}
FILENAME == "-" && /^# / { help = help roff(substr($0, 3)) "\n" }
FILENAME == "-" { next }

/@OPTIONS@/ { printf "%s", options; next }
{ print }
