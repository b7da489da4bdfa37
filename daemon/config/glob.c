/*
 * One pattern element at a time, and one place to come back to: the last `*`. A later star makes the
 * earlier ones needless (what they took can only grow), so there is no recursion, and no pattern that
 * takes longer than the two lengths' product.
 */

#include "glob.h"

/* Bytes of the character at `at`: `?` and sets take whole characters of UTF-8. */
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

/* The set that starts at `at` with '['; returns its length, or 0 where no ']' ends it: then '[' is itself. */
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

/* Does the element at `*p`, no star, match the text at `*t`? Then both move on. */
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
