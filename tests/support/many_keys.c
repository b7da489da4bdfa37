#include "many_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { SLACK_KB = 4096 };

/* The number of the last key of a page. */
static int last_of(const char *page)
{
        const char *last = NULL;

        while ((page = strstr(page, "'key")) != NULL)
                last = page++;
        ck_assert_ptr_nonnull(last);
        return atoi(last + strlen("'key"));
}

void many_keys_scan(struct daemon *d, struct wire *c, int s, int keys)
{
        char after[32] = "nil";
        long peak = 0;

        for (int seen = 0; seen < keys;) {
                const char *page = wire_call(c, "kv_scan(%d, 'key', %s, 1000)", s, after);
                TEST_FREED char *first = test_format("[['key%06d', ", seen);

                ck_assert_msg(strncmp(page, first, strlen(first)) == 0, "%.40s is not %s", page, first);
                seen = last_of(page) + 1;
                peak = peak ? peak : daemon_peak_rss_kb(d);
                snprintf(after, sizeof(after), "'key%06d'", seen - 1);
        }
        expect(c, "[]", "kv_scan(%d, 'key', %s, 1000)", s, after);
        ck_assert_msg(daemon_peak_rss_kb(d) - peak < SLACK_KB * test_memory_factor(), "%ld KiB more",
                      daemon_peak_rss_kb(d) - peak);
}
