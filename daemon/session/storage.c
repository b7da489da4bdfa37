/* Starting, stopping and finding the backends. */

#include "storage.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../config/config.h"

enum { LISTS_MAX = 2 };

int storages_start(struct storages *storages, const struct config *config,
                   const struct backend_config *backend_config, struct log *log,
                   struct store_threads *threads)
{
        struct fault fault = { 0 };
        size_t n = 0;

        while (backends[n])
                n++;
        assert(n > 0);
        storages->all = calloc(n, sizeof(*storages->all));
        if (!storages->all) {
                log_write(log, LOG_ERROR, "out of memory");
                return -1;
        }
        for (storages->n = 0; storages->n < n; storages->n++) {
                struct storage *storage = &storages->all[storages->n];
                bool aside, computes;

                storage->backend = backends[storages->n];
                const union option_value *values = config_backend_values(config, storages->n);

                if (storage->backend->start(backend_config, values, &storage->env, &fault) < 0) {
                        log_write(log, LOG_ERROR, "cannot start the backend %s: %s", storage->backend->name,
                                  fault.text);
                        return -1;
                }
                store_gate(&storage->jobs, storage->backend->max_jobs, false);
                computes = !storage->backend->lease; /* with a lease, a server does the work */
                aside = storage->backend->max_opens && computes;
                store_gate(&storage->opens, storage->backend->max_opens, aside);
                store_gate(&storage->writes, storage->backend->max_writes, false);
                if (computes)
                        store_gate(&storage->lists, LISTS_MAX, true);
                if (storage->env) {
                        threads->aside += storage->lists.max;
                        threads->gated += storage->backend->max_jobs + storage->backend->max_writes;
                        *(aside ? &threads->aside : &threads->gated) += storage->backend->max_opens;
                }
        }
        return 0;
}

void storages_stop(struct storages *storages)
{
        for (size_t i = 0; i < storages->n; i++)
                if (storages->all[i].env)
                        storages->all[i].backend->stop(storages->all[i].env);
        free(storages->all);
        *storages = (struct storages){ 0 };
}

bool storage_owner(const struct storage *storage, const struct stored_session *stored,
                   char text[OWNER_TEXT_BYTES])
{
        struct fault ignored;

        if (stored->owner_known)
                memcpy(text, stored->owner, sizeof(stored->owner));
        return stored->owner_known ||
               (storage->backend->owner &&
                storage->backend->owner(storage->env, stored->name, text, &ignored) == 0);
}

struct storage *storages_find(const struct storages *storages, struct slice name)
{
        for (size_t i = 0; i < storages->n; i++)
                if (storages->all[i].env && slice_is(name, storages->all[i].backend->name))
                        return &storages->all[i];
        return NULL;
}
