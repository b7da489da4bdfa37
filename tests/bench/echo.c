/*
 * The cost of a Unix socket and libuv's loop alone. For each N bytes received it sends M bytes, all answers
 * to one read in one write. No daemon on this loop can be faster.
 *
 *     echo socket=PATH requests=29 answers=59
 */

#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "options.h"

enum { READ_BYTES = 64 * 1024, BACKLOG = 4096 };

struct server {
        size_t request_bytes, answer_bytes;
        char room[READ_BYTES];
        char answers[4 * READ_BYTES];
};

struct client {
        uv_pipe_t pipe;
        size_t left_over; /* bytes received of an incomplete request */
};

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
        struct server *server = handle->loop->data;

        (void)suggested;
        *room = uv_buf_init(server->room, sizeof(server->room));
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
        struct server *server = stream->loop->data;
        struct client *client = stream->data;
        uv_buf_t bytes;
        int written;

        (void)room;
        if (n < 0) {
                uv_close((uv_handle_t *)stream, on_closed);
                return;
        }
        client->left_over += (size_t)n;
        bytes = uv_buf_init(server->answers,
                            (unsigned)(client->left_over / server->request_bytes * server->answer_bytes));
        client->left_over %= server->request_bytes;
        if (bytes.len == 0)
                return;
        written = uv_try_write(stream, &bytes, 1);
        if (written < 0)
                uv_close((uv_handle_t *)stream, on_closed);
        else if ((size_t)written != bytes.len) /* the answers in flight fit in the socket's buffer */
                errx(1, "a client does not read");
}

static void on_connection(uv_stream_t *listening, int status)
{
        struct client *client = calloc(1, sizeof(*client));

        if (status < 0 || !client || uv_pipe_init(listening->loop, &client->pipe, 0) < 0 ||
            uv_accept(listening, (uv_stream_t *)&client->pipe) < 0)
                errx(1, "a client could not be accepted");
        client->pipe.data = client;
        uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read);
}

int main(int argc, char **argv)
{
        static struct server server;
        const char *path = NULL;
        double request_bytes = 29, answer_bytes = 59;
        const struct option_row rows[] = { { "socket", &path, NULL },
                                           { "requests", NULL, &request_bytes },
                                           { "answers", NULL, &answer_bytes } };
        uv_loop_t loop;
        uv_pipe_t listening;

        options_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv);
        server.request_bytes = (size_t)request_bytes;
        server.answer_bytes = (size_t)answer_bytes;
        signal(SIGPIPE, SIG_IGN);
        uv_loop_init(&loop);
        loop.data = &server;
        uv_pipe_init(&loop, &listening, 0);
        if (!path || uv_pipe_bind(&listening, path) < 0 ||
            uv_listen((uv_stream_t *)&listening, BACKLOG, on_connection) < 0)
                errx(1, "cannot listen");
        uv_run(&loop, UV_RUN_DEFAULT);
        return 0;
}
