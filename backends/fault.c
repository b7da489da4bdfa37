/* Faults: the text that tells people why a backend refused. */

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"

/* A fault's text is sent as UTF-8: a text that was cut must not end with half a character. */
static void drop_half_character(char *text)
{
        size_t end = strlen(text);
        size_t start = end;

        while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
                start--;
        if (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0xC0)
                text[start - 1] = '\0';
}

int fault_set(struct fault *fault, int error, const char *format, ...)
{
        va_list args;
        int length;

        assert(error <= BACKEND_E_NOT_FOUND && error >= BACKEND_E_DENIED);
        fault->file[0] = fault->holder.host[0] = fault->wait.owner[0] = '\0';
        fault->wait.in_ms = 0;
        va_start(args, format);
        length = vsnprintf(fault->text, sizeof(fault->text), format, args);
        va_end(args);
        if (length >= (int)sizeof(fault->text))
                drop_half_character(fault->text);
        return error;
}

int fault_set_value(struct fault *fault, int error, const char *session, struct slice key, const char *why)
{
        return fault_set(fault, error, "session '%s': the value of its key '%.*s' %s", session, (int)key.len,
                         key.data, why);
}

const char *fault_shell_word(const char *text, char word[SHELL_WORD_BYTES])
{
        static const char quote[] = "'\\''"; /* ends the word's quotes, and begins them again */
        const char *end = word + SHELL_WORD_BYTES - sizeof(quote) - 1;
        char *to = word;

        *to++ = '\'';
        for (; *text && to < end; text++)
                if (*text == '\'')
                        to = stpcpy(to, quote);
                else
                        *to++ = *text;
        strcpy(to, "'");
        return word;
}
