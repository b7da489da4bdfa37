/*
 * Clients that open and close sessions, or create and delete them, in a loop: the load beside which `load`
 * measures an ordinary client. Each client is a process with sessions of its own, and waits for each answer.
 * SIGTERM ends the loop. Prints one line of JSON: how many such rounds all clients made.
 *
 *     churn place=SOCKET operation=open clients=8 seconds=2
 */

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../client-lib/gram.h"
#include "options.h"
#include "sample.h"

enum { CLIENTS_MAX = 64 };

struct churn {
        const char *place, *operation;
        double clients, seconds, names;
        bool deletes;
        unsigned *rounds; /* by client; shared */
};

static unsigned *stop; /* shared, set by a signal */

static void on_sigterm(int number)
{
        (void)number;
        *stop = 1;
}

static double now_s(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void need(struct gram_client *client, int code)
{
        if (code)
                errx(1, "gramd: %s", gram_client_error(client)->message);
}

static void store_a_peer(struct gram_session *session)
{
        const struct gram_peer peer = { .id = 1, .has_access_hash = true, .access_hash = 2, .type = "user" };

        need(gram_session_client(session), gram_update_peers(session, &peer, 1));
}

static void live(const struct churn *churn, int number)
{
        const struct gram_options options = { .socket = churn->place };
        struct gram_client *client = gram_client_new(&options);
        double end = now_s() + churn->seconds;

        if (!client)
                err(1, "memory");
        for (unsigned round = 0; now_s() < end && !__atomic_load_n(stop, __ATOMIC_RELAXED); round++) {
                struct gram_session *session;
                char name[64];

                snprintf(name, sizeof(name), "%s-%d-%d", churn->operation, number,
                         (int)(round % (unsigned)churn->names));
                need(client, gram_open(client, name, NULL, &session));
                if (gram_session_opened(session)->created)
                        store_a_peer(session);
                if (churn->deletes)
                        need(client, gram_delete(session, true));
                need(client, gram_close(session));
                churn->rounds[number] = round + 1;
        }
        gram_client_free(client);
}

int main(int argc, char **argv)
{
        struct churn churn = { .operation = "open", .clients = 8, .seconds = 1, .names = 8 };
        const struct option_row options[] = {
                { "place", &churn.place, NULL },     { "operation", &churn.operation, NULL },
                { "clients", NULL, &churn.clients }, { "seconds", NULL, &churn.seconds },
                { "names", NULL, &churn.names }, /* sessions of a client */
        };
        const struct sigaction end = { .sa_handler = on_sigterm, .sa_flags = SA_RESTART };
        unsigned long long rounds = 0;
        double start;
        int status, failed = 0;

        options_read(options, sizeof(options) / sizeof(options[0]), argc, argv);
        churn.deletes = strcmp(churn.operation, "create") == 0;
        if (!churn.place || churn.clients < 1 || churn.clients > CLIENTS_MAX || churn.names < 1 ||
            (!churn.deletes && strcmp(churn.operation, "open") != 0))
                errx(2, "a place and an operation are needed");
        churn.rounds = mmap(NULL, (CLIENTS_MAX + 1) * sizeof(unsigned), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (churn.rounds == MAP_FAILED)
                err(1, "memory");
        stop = churn.rounds + CLIENTS_MAX;
        start = now_s();
        for (int i = 0; i < (int)churn.clients; i++) {
                if (fork() != 0)
                        continue;
                live(&churn, i);
                _exit(0);
        }
        sigaction(SIGTERM, &end, NULL);
        while (wait(&status) > 0)
                failed |= status;
        for (int i = 0; i < (int)churn.clients; i++)
                rounds += churn.rounds[i];
        printf("{\"requests\": %llu, \"rate\": %.1f}\n", rounds, (double)rounds / (now_s() - start));
        return failed != 0;
}
