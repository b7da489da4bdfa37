/*
 * A `loan` is the lease of one process that has gone. The process is watched by a pidfd that was taken while
 * its socket was open: a later process of the same id is not taken for it.
 */

#include "lent.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PEER_PIDFD = 77 }; /* SO_PEERPIDFD: older headers do not have it */

struct loan {
        struct link link; /* session->loans */
        struct session *session;
        uint64_t until_ms; /* of the loop's clock */
        pid_t pid;
        int pidfd;
        bool watching;
        uv_poll_t poll; /* while `watching` */
};

static void on_closed(uv_handle_t *uv)
{
        struct loan *loan = uv->data;

        close(loan->pidfd);
        free(loan);
}

static void loan_end(struct loan *loan)
{
        link_remove(&loan->link);
        if (loan->watching) {
                uv_close((uv_handle_t *)&loan->poll, on_closed);
                return;
        }
        if (loan->pidfd >= 0)
                close(loan->pidfd);
        free(loan);
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
        struct loan *loan = poll->data;

        (void)events;
        if (status < 0) { /* it is not known whether it has ended */
                uv_poll_stop(poll);
                return;
        }
        session_wake(loan->session);
        loan_end(loan);
}

static void watch_process(struct loan *loan, uv_loop_t *loop, int pidfd)
{
        /* Without an id here, a process of another namespace cannot be told from others: it is not watched.
         */
        loan->pidfd = loan->pid > 0 && pidfd >= 0 ? fcntl(pidfd, F_DUPFD_CLOEXEC, 0) : -1;
        loan->poll.data = loan;
        if (loan->pidfd < 0 || uv_poll_init(loop, &loan->poll, loan->pidfd) < 0)
                return; /* the wait does not end early */
        loan->watching = true;
        uv_poll_start(&loan->poll, UV_READABLE, on_ended);
}

int lent_watch_peer(int socket_fd, pid_t pid)
{
        int pidfd = -1;
        socklen_t len = sizeof(pidfd);

        if (getsockopt(socket_fd, SOL_SOCKET, PEER_PIDFD, &pidfd, &len) == 0)
                return pidfd;
        return (int)syscall(SYS_pidfd_open, pid, 0);
}

/*
 * One loan for each process, however often it comes and goes. It becomes the first one: a client that ends
 * has many handles, and they do not search all loans again.
 */
static struct loan *loan_of(struct session *session, pid_t pid)
{
        for (struct link *at = session->loans.next; at != &session->loans; at = at->next) {
                if (LINK_OF(at, struct loan, link)->pid != pid)
                        continue;
                link_remove(at);
                link_insert_after(&session->loans, at);
                return LINK_OF(at, struct loan, link);
        }
        return NULL;
}

void lent_keep(struct session *session, uv_loop_t *loop, pid_t pid, int pidfd, uint64_t until_ms)
{
        struct loan *loan = loan_of(session, pid);

        if (until_ms <= timers_now(session->sessions->timers))
                return;
        if (loan) {
                if (until_ms > loan->until_ms)
                        loan->until_ms = until_ms;
                return;
        }
        loan = calloc(1, sizeof(*loan));
        if (!loan) { /* the wait does not end early */
                if (until_ms > session->lent_until_ms)
                        session->lent_until_ms = until_ms;
                return;
        }
        loan->session = session;
        loan->pid = pid;
        loan->until_ms = until_ms;
        link_insert_after(&session->loans, &loan->link);
        watch_process(loan, loop, pidfd);
}

void lent_keep_all(struct session *session, int64_t left_ms)
{
        uint64_t until_ms = timers_now(session->sessions->timers) + (uint64_t)left_ms;

        assert(left_ms >= 0);
        if (left_ms > 0 && until_ms > session->lent_until_ms)
                session->lent_until_ms = until_ms;
}

uint64_t lent_left_ms(const struct session *session)
{
        uint64_t now = timers_now(session->sessions->timers), until = session->lent_until_ms;

        for (const struct link *at = session->loans.next; at != &session->loans; at = at->next) {
                const struct loan *loan = LINK_OF(at, struct loan, link);

                if (loan->until_ms > until)
                        until = loan->until_ms;
        }
        return until > now ? until - now : 0;
}

void lent_forget(struct session *session)
{
        while (!link_empty(&session->loans))
                loan_end(LINK_OF(session->loans.next, struct loan, link));
        session->lent_until_ms = 0;
}
