/*
 * What the shell may put in the place of a word, one a line: commands, options and their values, and names of
 * sessions, as far as the daemon answers and the caller may list them. It says nothing of errors: the shell
 * shows a prompt.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "table.h"

enum { ANSWER_MS = 1000, SESSIONS_MAX = 2000 };

static const struct {
        const char *option;
        const char *words;
} values[] = {
        { "backend", "file memory mongo" },
        { "format", "pyrogram pyrogram-old32 pyrogram-old64 telethon gramjs mtcute mtkruto" },
        { "dialect", "pyrogram hydrogram pyrofork electrogram kurigram irenogram pyrotgfork telethon" },
};

/* The words of the line before the one that is completed. */
struct line {
        const struct command *command; /* NULL: none yet */
        const struct option_row *open; /* the last word is this option, and its value comes next */
        const char *socket;
        int n; /* arguments of the command */
};

static const struct option_row *option_of(const char *word)
{
        for (int i = 0; i < n_options && strncmp(word, "--", 2) == 0; i++)
                if (strcmp(options[i].name, word + 2) == 0)
                        return &options[i];
        return NULL;
}

static struct line read_line(int n, char **words)
{
        struct line line = { 0 };

        for (int i = 1; i < n; i++) {
                const struct option_row *option = option_of(words[i]);

                if (line.open) {
                        if (strcmp(line.open->name, "socket") == 0)
                                line.socket = words[i];
                        line.open = NULL;
                } else if (option) {
                        line.open = option->argument ? option : NULL;
                } else if (line.command) {
                        line.n++;
                } else {
                        line.command = command_find(words[i]);
                }
        }
        return line;
}

static void offer(const char *text, size_t len, const char *word)
{
        if (len >= strlen(word) && strncmp(text, word, strlen(word)) == 0)
                printf("%.*s\n", (int)len, text);
}

static void offer_words(const char *words, const char *word)
{
        while (*words) {
                size_t len = strcspn(words, " ");

                offer(words, len, word);
                words += len + (words[len] == ' ');
        }
}

static void offer_options(const struct line *line, const char *word)
{
        for (int i = 0; i < n_options; i++) {
                char text[40];

                if (line->command && !(options[i].commands & line->command->bit))
                        continue;
                snprintf(text, sizeof(text), "--%s", options[i].name);
                offer(text, strlen(text), word);
        }
}

/* All whose names begin with the word; what a pattern has a meaning for is any character in it. */
static void offer_sessions(const struct line *line, const char *word)
{
        const struct gram_options asks = { .socket = line->socket,
                                           .client = "gramctl",
                                           .timeout_ms = ANSWER_MS };
        struct gram_client *client = gram_client_new(&asks);
        struct gram_stored_sessions *page = NULL;
        char *glob = NULL, *after = NULL;

        if (!client || asprintf(&glob, "%s*", word) < 0)
                glob = NULL;
        for (char *at = glob; at && at[1]; at++)
                if (strchr("*?[]\\", *at))
                        *at = '?';
        for (size_t n = 0; glob && n < SESSIONS_MAX; n += page->n) {
                gram_free(page);
                if (gram_sessions(client, glob, after, GRAM_MAX_ROWS, &page) || page->n == 0)
                        break;
                for (size_t i = 0; i < page->n; i++)
                        offer(page->rows[i].name, strlen(page->rows[i].name), word);
                free(after);
                after = strdup(page->rows[page->n - 1].name);
                if (!after)
                        break;
        }
        gram_free(page);
        free(after);
        free(glob);
        gram_client_free(client);
}

/* What the command's usage says of its argument number `n`. The last one may be repeated: "NAME...". */
static void offer_argument(const struct line *line, const char *word)
{
        const char *at = line->command->arguments;
        size_t len = strcspn(at, " ");

        for (int n = line->n; n > 0 && !(len > 3 && strncmp(at + len - 3, "...", 3) == 0); n--) {
                at += len + (at[len] == ' ');
                len = strcspn(at, " ");
        }
        at += *at == '[';
        if (strncmp(at, "NAME", 4) == 0 || strncmp(at, "SESSION", 7) == 0 || strncmp(at, "GLOB", 4) == 0)
                offer_sessions(line, word);
        else if (strncmp(at, "VERB", 4) == 0)
                offer_words("get set swap scan delete", word);
        else if (strncmp(at, "new", 3) == 0)
                offer_words("new", word);
}

int ctl_complete(int n, char **words)
{
        char *end = NULL;
        long at = n > 0 ? strtol(words[0], &end, 10) : 0;
        const char *word;
        struct line line;

        if (at < 1 || at > n - 1) /* the first word is the number, the second one the program */
                return EXIT_USAGE;
        word = at < n - 1 ? words[at + 1] : "";
        line = read_line((int)at, words + 1);
        if (line.open) {
                for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
                        if (strcmp(values[i].option, line.open->name) == 0)
                                offer_words(values[i].words, word);
        } else if (*word == '-') {
                offer_options(&line, word);
        } else if (line.command) {
                offer_argument(&line, word);
        } else {
                for (int i = 0; i < n_commands; i++)
                        offer(commands[i].name, strlen(commands[i].name), word);
        }
        return EXIT_OK;
}
