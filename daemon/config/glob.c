/*
 * Matches one element of the pattern at a time, and backtracks only to the last `*`: text that an earlier
 * star could take as well, the later one can take too. So there is no recursion, and the time is at most
 * proportional to the product of both lengths.
 */

#include "glob.h"

/* The length of the UTF-8 character at `at`: `?` and sets match whole characters. */
static size_t character(struct slice text, size_t at)
{
        size_t len = 1;

        while (at + len < text.len && ((unsigned char)text.data[at + len] & 0xc0) == 0x80)
                len++;
        return len;
}

static int compare(struct slice a, size_t at_a, struct slice b, size_t at_b)
{
        return slice_compare((struct slice){ a.data + at_a, character(a, at_a) },
                             (struct slice){ b.data + at_b, character(b, at_b) });
}

/* Matches the set that begins with '[' at `at`. Returns its length; 0: it has no ']', so '[' is literal. */
static size_t match_set(struct slice pattern, size_t at, struct slice text, size_t text_at, bool *matches)
{
        size_t p = at + 1;
        bool negated = p < pattern.len && (pattern.data[p] == '!' || pattern.data[p] == '^');
        bool found = false;

        p += negated;
        for (bool first = true; p < pattern.len && (first || pattern.data[p] != ']'); first = false) {
                size_t low, high;

                p += pattern.data[p] == '\\' && p + 1 < pattern.len;
                low = high = p;
                p += character(pattern, p);
                if (p + 1 < pattern.len && pattern.data[p] == '-' && pattern.data[p + 1] != ']') {
                        p++;
                        p += pattern.data[p] == '\\' && p + 1 < pattern.len;
                        high = p;
                        p += character(pattern, p);
                }
                found |= compare(pattern, low, text, text_at) <= 0 &&
                         compare(text, text_at, pattern, high) <= 0;
        }
        if (p >= pattern.len)
                return 0;
        *matches = found != negated;
        return p + 1 - at;
}

/* Matches one element that is not a star. True: `*p` and `*t` have moved past it. */
static bool match_one(struct slice pattern, size_t *p, struct slice text, size_t *t)
{
        size_t len = 1, at = *p;
        bool matches = true;

        switch (pattern.data[at]) {
        case '?':
                *t += character(text, *t);
                *p += 1;
                return true;
        case '[':
                len = match_set(pattern, at, text, *t, &matches);
                if (!len)
                        break;
                if (!matches)
                        return false;
                *t += character(text, *t);
                *p += len;
                return true;
        case '\\': at += at + 1 < pattern.len; break;
        default: break;
        }
        if (pattern.data[at] != text.data[*t])
                return false;
        *t += 1;
        *p = at + 1;
        return true;
}

bool glob_match(struct slice pattern, struct slice text)
{
        bool starred = false;
        size_t p = 0, t = 0, star_p = 0, star_t = 0;

        while (t < text.len) {
                if (p < pattern.len && pattern.data[p] == '*') {
                        starred = true;
                        star_p = ++p;
                        star_t = t;
                } else if (p < pattern.len && match_one(pattern, &p, text, &t)) {
                        continue;
                } else if (starred) {
                        p = star_p;
                        star_t += character(text, star_t);
                        t = star_t;
                } else {
                        return false;
                }
        }
        while (p < pattern.len && pattern.data[p] == '*')
                p++;
        return p == pattern.len;
}
