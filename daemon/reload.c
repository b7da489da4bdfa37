/* A reload reads files and the system's user database. Both may block, so a job does it. */

#include "reload.h"

#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "key_source.h"

struct reload_job {
        struct job job;
        struct reload *reload;
        struct config fresh;
        struct config_error error;
        struct key_ids keys; /* before the reload */
        int failed;
};

static void run(struct job *base)
{
        struct reload_job *job = (struct reload_job *)base;
        const struct reload *reload = job->reload;

        job->keys = key_ids_of(reload->keyring);
        job->failed = config_reload(reload->config, reload->argc, reload->argv, &job->fresh, &job->error);
        if (!job->failed && !key_source_read(reload->keyring, &job->fresh, reload->data_dir, job->error.text,
                                             sizeof(job->error.text)))
                job->failed = -1;
}

static void adopt(struct reload *reload, struct config *fresh, const struct key_ids *former)
{
        char keys[512];

        config_adopt(reload->config, fresh);
        reload->log->level = (int)reload->config->log_level;
        reload->adopted(reload);
        log_write(reload->log, LOG_INFO, "configuration read again%s%s",
                  fresh->restart[0] ? "; these need a restart: " : "", fresh->restart);
        if (fresh->access.n_rules > 0 &&
            reload->config->access.n_rules == 0) /* `fresh` has the former ones */
                log_write(reload->log, LOG_WARNING,
                          "there are no access rules any more: everybody whom the socket lets in may create "
                          "sessions, and use those that have no owner");
        if (key_source_describe(reload->keyring, keys, sizeof(keys)))
                log_write(reload->log, LOG_INFO, "%s", keys);
        if (key_source_describe_lost(reload->keyring, former, keys, sizeof(keys)))
                log_write(reload->log, LOG_WARNING, "%s", keys);
}

static void done(struct job *base)
{
        struct reload_job *job = (struct reload_job *)base;
        struct reload *reload = job->reload;

        if (job->failed)
                log_write(reload->log, LOG_ERROR, "the configuration stays as it was: %s", job->error.text);
        else
                adopt(reload, &job->fresh, &job->keys);
        config_deinit(&job->fresh);
        free(job);
        reload->running = false;
        if (reload->stopping)
                return;
        sd_notify(0, "READY=1");
        if (reload->again)
                reload_start(reload);
}

void reload_start(struct reload *reload)
{
        struct reload_job *job;
        struct timespec now;

        if (reload->running) {
                reload->again = true;
                return;
        }
        job = calloc(1, sizeof(*job));
        if (!job) {
                log_write(reload->log, LOG_ERROR, "the configuration stays as it was: out of memory");
                return;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + (long long)now.tv_nsec / 1000);
        job->reload = reload;
        reload->running = true;
        reload->again = false;
        store_submit(reload->store, NULL, JOB_OF_NOBODY, &job->job, run, done);
}
