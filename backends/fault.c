/* Faults: the text that tells people why a backend refused. */

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../proto/utf8.h"
#include "backend.h"

/* `session`: whose fault it is, or NULL. */
static int set(struct fault *fault, int error, const char *session, const char *format, va_list args)
{
        char text[sizeof(fault->text) + 1], name[FAULT_NAME_BYTES];

        assert(error <= BACKEND_E_NOT_FOUND && error >= BACKEND_E_DENIED);
        vsnprintf(text, sizeof(text), format, args);
        fault->file[0] = fault->holder.host[0] = fault->wait.owner[0] = '\0';
        fault->wait.in_ms = 0;
        fault->why_at = 0;
        if (session)
                fault->why_at = (size_t)sprintf(fault->text, "session '%s': ",
                                                utf8_quote(slice_of(session), '\'', name, sizeof(name)));
        utf8_quote(slice_of(text), '\0', fault->text + fault->why_at, sizeof(fault->text) - fault->why_at);
        return error;
}

int fault_set(struct fault *fault, int error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        set(fault, error, NULL, format, args);
        va_end(args);
        return error;
}

int fault_session(struct fault *fault, int error, const char *session, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        set(fault, error, session, format, args);
        va_end(args);
        return error;
}

int fault_set_value(struct fault *fault, int error, const char *session, struct slice key, const char *why)
{
        char text[FAULT_NAME_BYTES];

        return fault_session(fault, error, session, "the value of its key '%s' %s",
                             utf8_quote(key, '\'', text, sizeof(text)), why);
}

int fault_set_dialect(struct fault *fault, struct slice dialect)
{
        char text[FAULT_NAME_BYTES];

        return fault_set(fault, BACKEND_E_OPTION, "dialect '%s' is not known",
                         utf8_quote(dialect, '\'', text, sizeof(text)));
}

const char *fault_shell_word(const char *text, char word[SHELL_WORD_BYTES])
{
        static const char quote[] = "'\\''"; /* ends the word's quotes, and begins them again */
        const char *end = word + SHELL_WORD_BYTES - sizeof("'$'\\u202e''") - 1;
        char *to = word;

        *to++ = '\'';
        for (size_t left = strlen(text); left && to < end;) {
                char piece[UTF8_SHOWN_BYTES];
                size_t used = utf8_show(text, left, '\0', piece);
                bool changed = strncmp(piece, text, used) != 0;

                if (*text == '\'')
                        to = stpcpy(to, quote);
                else
                        to += sprintf(to, changed ? "'$'%s''" : "%s", piece);
                text += used;
                left -= used;
        }
        strcpy(to, "'");
        return word;
}
