/*
 * libgram with blocking calls: opens a session, stores a peer, finds it by its username and prints it.
 *
 *     cc blocking.c $(pkg-config --cflags --libs gram) -o blocking && ./blocking my_account
 */

#include <stdio.h>

#include "../gram.h" /* once installed: <gram.h> */

static int store_and_find(struct gram_session *session)
{
        const struct gram_peer anna = { .id = 4711,
                                        .has_access_hash = true,
                                        .access_hash = 1234567890123,
                                        .type = "user",
                                        .username = "anna" };
        struct gram_peer *found;

        if (gram_update_peers(session, &anna, 1))
                return -1;
        if (gram_get_peer_by_username(session, "anna", GRAM_MAX_AGE_DEFAULT_S, &found))
                return -1;
        printf("@%s is %s %lld\n", found->username, found->type, (long long)found->id);
        gram_free(found);
        return 0;
}

int main(int argc, char **argv)
{
        const char *name = argc > 1 ? argv[1] : "example";
        struct gram_client *client = gram_client_new(NULL); /* all defaults */
        struct gram_session *session = NULL;
        int failed = 1;

        if (!client) {
                perror("gram_client_new");
                return 1;
        }
        /* Fails at once if no daemon listens. Without it, gram_open() would wait for one. */
        if (gram_connect(client) == 0 && gram_open(client, name, NULL, &session) == 0)
                failed = store_and_find(session);
        if (failed)
                fprintf(stderr, "%s\n", gram_client_error(client)->message);
        if (session)
                gram_close(session);
        gram_client_free(client);
        return failed ? 1 : 0;
}
