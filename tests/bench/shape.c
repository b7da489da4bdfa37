/*
 * The workload of real shape on one storage: bots, each a process with a session of its own. For each update
 * a bot stores the peers of the update in two calls, as the libraries do, with 1 to 50 rows each, 95 % of
 * them of known peers; then the update's state; then it looks up one peer. Which of its 10,000 peers they are
 * follows Zipf's law. With `operation=lookup` a bot only looks up peers, each equally often: the cost of a
 * call through the library. Prints one line of JSON.
 *
 *     shape storage=gramd place=SOCKET bots=8 seconds=2
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "options.h"
#include "sample.h"
#include "storage.h"

enum { KNOWN = 10000, ROWS_MAX = 50, NEW_PERCENT = 5, BOTS_MAX = 64 };

/* Shared between the bots: their figures, and how many are ready. */
struct ground {
        double zipf[KNOWN]; /* cumulative: the share of uses of all peers up to this one */
        struct histogram times[BOTS_MAX];
        unsigned ready;
        unsigned failed;
};

struct bot {
        const struct storage_kind *kind;
        struct storage *storage;
        const struct ground *ground;
        uint64_t random;
        uint64_t first; /* number of its first known peer */
        uint64_t next;  /* number of its next new peer */
        int64_t pts;
};

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fill_zipf(double *zipf)
{
        double sum = 0, whole = 0;

        for (int i = 0; i < KNOWN; i++)
                whole += 1.0 / (i + 1);
        for (int i = 0; i < KNOWN; i++) {
                sum += 1.0 / (i + 1);
                zipf[i] = sum / whole;
        }
}

static uint64_t some_known(struct bot *bot)
{
        double point = (double)(sample_random(&bot->random) >> 11) / (double)(UINT64_C(1) << 53);
        size_t low = 0, high = KNOWN - 1;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (bot->ground->zipf[middle] < point)
                        low = middle + 1;
                else
                        high = middle;
        }
        return bot->first + low;
}

/* ---- one bot ---- */

static void learn(struct bot *bot)
{
        uint64_t numbers[ROWS_MAX];

        for (uint64_t done = 0; done < KNOWN; done += ROWS_MAX) {
                for (uint64_t i = 0; i < ROWS_MAX; i++)
                        numbers[i] = bot->first + done + i;
                bot->kind->put_peers(bot->storage, numbers, ROWS_MAX);
        }
}

static void put_some(struct bot *bot)
{
        size_t n = 1 + sample_random_below(&bot->random, ROWS_MAX);
        uint64_t numbers[ROWS_MAX];

        for (size_t i = 0; i < n; i++)
                numbers[i] =
                        sample_random_below(&bot->random, 100) < NEW_PERCENT ? bot->next++ : some_known(bot);
        bot->kind->put_peers(bot->storage, numbers, n);
}

static void update(struct bot *bot)
{
        put_some(bot);
        put_some(bot);
        bot->kind->put_state(bot->storage, ++bot->pts);
        bot->kind->get_peer(bot->storage, some_known(bot));
}

static void look_up(struct bot *bot)
{
        bot->kind->get_peer(bot->storage, sample_random_below(&bot->random, bot->next));
}

static void live(struct bot *bot, struct ground *ground, unsigned n_bots, double seconds, bool lookups,
                 struct histogram *times)
{
        uint64_t now, end;

        if (!lookups)
                learn(bot);
        __atomic_add_fetch(&ground->ready, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&ground->ready, __ATOMIC_SEQ_CST) < n_bots && !ground->failed)
                usleep(100);
        now = now_ns();
        end = now + (uint64_t)(seconds * 1e9);
        while (now < end) {
                uint64_t before = now;

                if (lookups)
                        look_up(bot);
                else
                        update(bot);
                now = now_ns();
                histogram_add(times, now - before);
        }
}

/* ---- all bots ---- */

static void wait_for_all(struct ground *ground)
{
        int status;

        while (wait(&status) > 0)
                if (status != 0)
                        __atomic_store_n(&ground->failed, 1, __ATOMIC_SEQ_CST);
}

static void report(const struct ground *ground, unsigned n_bots, double seconds)
{
        static struct histogram all;

        for (unsigned i = 0; i < n_bots; i++) {
                all.n += ground->times[i].n;
                for (int at = 0; at < HISTOGRAM_CLASSES; at++)
                        all.classes[at] += ground->times[i].classes[at];
        }
        printf("{\"requests\": %llu, \"errors\": 0, \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, "
               "\"p99_us\": %.1f, \"p999_us\": %.1f}\n",
               (unsigned long long)all.n, seconds, (double)all.n / seconds, histogram_quantile(&all, 0.5),
               histogram_quantile(&all, 0.99), histogram_quantile(&all, 0.999));
}

int main(int argc, char **argv)
{
        const char *place = NULL, *storage = "gramd", *operation = "update", *name = "bot";
        double bots = 1, seconds = 1, durable = 0, core = -1, first = 0, peers = 100000;
        const struct option_row options[] = {
                { "storage", &storage, NULL },     { "place", &place, NULL },
                { "operation", &operation, NULL }, { "bots", NULL, &bots },
                { "seconds", NULL, &seconds },     { "durable", NULL, &durable },
                { "core", NULL, &core },           { "name", &name, NULL },
                { "first", NULL, &first },         { "peers", NULL, &peers },
        };
        const struct storage_kind *kind;
        struct ground *ground;
        bool lookups;

        options_read(options, sizeof(options) / sizeof(options[0]), argc, argv);
        kind = storage_kind(storage);
        lookups = strcmp(operation, "lookup") == 0;
        if (!kind || !place || bots < 1 || bots > BOTS_MAX)
                errx(2, "a storage and its place are needed");
        pin_to_core((int)core);
        ground = mmap(NULL, sizeof(*ground), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (ground == MAP_FAILED)
                err(1, "memory");
        fill_zipf(ground->zipf);
        for (unsigned i = 0; i < (unsigned)bots; i++) {
                struct bot bot = { .kind = kind, .ground = ground, .random = 88172645463325252u + i };
                char session[256];

                if (fork() != 0)
                        continue;
                snprintf(session, sizeof(session), "%s-%u", name, i);
                bot.storage = kind->open(place, session, durable > 0);
                bot.first = (uint64_t)first + i * UINT64_C(1000000);
                bot.next = lookups ? (uint64_t)peers : bot.first + KNOWN;
                live(&bot, ground, (unsigned)bots, seconds, lookups, &ground->times[i]);
                kind->close(bot.storage);
                _exit(0);
        }
        wait_for_all(ground);
        if (ground->failed)
                return 1;
        report(ground, (unsigned)bots, seconds);
        return 0;
}
