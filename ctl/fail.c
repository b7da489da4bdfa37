/* How gramctl fails: one line on standard error, as text or JSON, and an exit code that tells the cause. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl.h"
#include "output.h"

bool ctl_fails_as_json;

static const char *const causes[] = {
        [EXIT_FAILED] = "failed",        [EXIT_USAGE] = "usage",         [EXIT_UNREACHABLE] = "unreachable",
        [EXIT_DENIED] = "denied",        [EXIT_NOT_FOUND] = "not_found", [EXIT_BUSY] = "busy",
        [EXIT_IN_PART] = "done_in_part",
};

int ctl_fail(int exit_code, const char *format, ...)
{
        char text[2048];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (ctl_fails_as_json) {
                putc('{', stderr);
                json_key_text(stderr, "error", causes[exit_code], true);
                json_key_text(stderr, "message", text, false);
                fputs("}\n", stderr);
                return exit_code;
        }
        fputs("gramctl: ", stderr);
        print_text(stderr, text);
        fputc('\n', stderr);
        return exit_code;
}

static int exit_code_of(int error)
{
        switch (error) {
        case GRAM_E_UNREACHABLE:
        case GRAM_E_TIMEOUT:
        case GRAM_E_UNTRUSTED: return EXIT_UNREACHABLE;
        case GRAM_E_DENIED: return EXIT_DENIED;
        case GRAM_E_NOT_FOUND: return EXIT_NOT_FOUND;
        case GRAM_E_BUSY:
        case GRAM_E_FENCED: return EXIT_BUSY;
        default: return EXIT_FAILED;
        }
}

/* NULL: nothing that the message does not say. */
static const char *what_to_do(struct ctl *ctl, int error)
{
        switch (error) {
        case GRAM_E_UNREACHABLE:
                if (access(gram_client_socket(ctl->client), W_OK) != 0 && errno == EACCES)
                        return "only root and the group gramd may connect: join the group or become root";
                return "start it with `systemctl start gramd` or `gramd`, or name another socket with "
                       "--socket PATH";
        case GRAM_E_TIMEOUT:
                return "the daemon runs but does not answer: see its log, or wait longer with --timeout";
        case GRAM_E_EXISTS: return "--overwrite replaces it";
        default: return NULL;
        }
}

int ctl_fail_gram(struct ctl *ctl, const char *name)
{
        const struct gram_error *error = gram_client_error(ctl->client);
        const char *todo = what_to_do(ctl, error->code);

        if (ctl->json) {
                putc('{', stderr);
                json_key_text(stderr, "error", error->name, true);
                json_key_text(stderr, "message", error->message, false);
                json_key_text(stderr, "todo", todo, false);
                json_key_text(stderr, "session", name, false);
                json_key(stderr, "holder", false);
                json_holder(stderr, error->holder);
                fputs("}\n", stderr);
                return exit_code_of(error->code);
        }
        fputs("gramctl: ", stderr);
        if (name) {
                print_text(stderr, name);
                fputs(": ", stderr);
        }
        print_text(stderr, error->message);
        if (error->holder) {
                fputs("; held by ", stderr);
                print_holder(stderr, error->holder);
        }
        fprintf(stderr, "%s%s [%s]\n", todo ? "; " : "", todo ? todo : "", error->name);
        return exit_code_of(error->code);
}
