/* A file has to be opened for it, which takes a fraction of a millisecond: as one job, aside if files are. */

#include "ownerless.h"

#include <stdlib.h>

struct counting {
        struct job job;
        struct ownerless *ownerless;
        struct storage *storage;
        size_t n;
        int error;
        struct fault fault;
};

static bool count_one(void *arg, const struct stored_session *stored)
{
        struct counting *counting = arg;
        char owner[OWNER_TEXT_BYTES];

        counting->n += storage_owner(counting->storage, stored, owner) && !owner[0];
        return !atomic_load(&counting->ownerless->stopping);
}

static void run(struct job *job)
{
        struct counting *counting = (struct counting *)job;
        const struct storage *storage = counting->storage;

        counting->error =
                storage->backend->list(storage->env, SLICE_NONE, count_one, counting, &counting->fault);
}

static void done(struct job *job)
{
        struct counting *counting = (struct counting *)job;
        const struct ownerless *ownerless = counting->ownerless;
        const char *name = counting->storage->backend->name;

        if (!counting->error && counting->n > 0 && !atomic_load(&ownerless->stopping))
                log_write(ownerless->log, LOG_INFO,
                          "sessions on %s without an owner: %zu. Everybody whom the rules of [access] "
                          "allow may use them, without rules everybody. `gramctl chown OWNER "
                          "--all-without-owner --backend %s` gives them an owner",
                          name, counting->n, name);
        free(counting);
}

void ownerless_count(struct ownerless *ownerless)
{
        for (size_t i = 0; i < ownerless->storages->n; i++) {
                struct storage *storage = &ownerless->storages->all[i];
                struct counting *counting;

                if (!storage->env || !storage->backend->owns || storage->backend->ephemeral)
                        continue;
                counting = calloc(1, sizeof(*counting));
                if (!counting)
                        return;
                counting->ownerless = ownerless;
                counting->storage = storage;
                store_submit(ownerless->store, &storage->opens, JOB_OF_NOBODY, &counting->job, run, done);
        }
}
