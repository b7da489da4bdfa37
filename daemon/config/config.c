/*
 * Reads a whole configuration: defaults, then the file, then the environment, then the flags. A later source
 * replaces what an earlier one set. option.c has the single options.
 */

#include "config.h"

#include <assert.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "uri.h"

enum { TEXT_MAX = 8192 };

static const char default_file[] = "/etc/gramd/gramd.conf";

static const struct action_flag {
        const char *name;
        enum config_action action;
        bool at_once; /* nothing else is read */
        const char *help;
} action_flags[] = {
        { "check-config", CONFIG_CHECK, false, "Read the configuration, say whether it is right, and end." },
        { "print-config", CONFIG_PRINT, false, "Print the configuration as it would be used, and end." },
        { "version", CONFIG_VERSION, true, "Print the version, and end." },
        { "help", CONFIG_HELP, true, "Print this, and end." },
};

static int fail(struct config_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct config_error *error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
        return -1;
}

/* Sets an option that is not from the file; `origin` is the flag or variable. */
static int set(struct config *config, const struct config_option *option, const char *origin,
               const char *text, struct config_error *error)
{
        char why[256], shown[256];

        if (config_option_set(option, config, text, why, sizeof(why)))
                return 0;
        if (option->row->type == OPTION_URI)
                uri_mask(text, shown, sizeof(shown));
        else
                snprintf(shown, sizeof(shown), "%s", text);
        return fail(error, "%s %s: %s", origin, shown, why);
}

/* ---- flags ---- */

struct flags {
        const char *config_file;
        const char **values; /* of each option, by its number; NULL: not given */
};

static void flags_deinit(struct flags *flags)
{
        free(flags->values);
}

/* Reads a flag and its value, if it has one; `*used` is the number of arguments read. */
static int read_flag(struct flags *flags, char **arguments, enum config_action *action, int *used,
                     struct config_error *error)
{
        const char *name = arguments[0] + 2, *value = strchr(arguments[0], '=');
        struct slice key = { name, value ? (size_t)(value++ - name) : strlen(name) };
        struct config_option option;
        bool found = config_option_find(key, &option);

        *used = 1;
        for (size_t i = 0; i < sizeof(action_flags) / sizeof(action_flags[0]); i++) {
                if (slice_is(key, action_flags[i].name)) {
                        *action = action_flags[i].action;
                        return value ? fail(error, "--%s takes no value", action_flags[i].name) : 0;
                }
        }
        if (!found && !slice_is(key, "config"))
                return fail(error, "unknown flag '--%.*s' (see --help)", (int)key.len, key.data);
        if (!value && found && !config_option_argument(&option)) {
                value = "yes";
        } else if (!value) {
                value = arguments[1];
                if (!value || strncmp(value, "--", 2) == 0)
                        return fail(error, "--%.*s: its value is missing", (int)key.len, key.data);
                *used = 2;
        }
        if (found)
                flags->values[option.number] = value;
        else
                flags->config_file = value;
        return 0;
}

static bool is_at_once(enum config_action action)
{
        for (size_t i = 0; i < sizeof(action_flags) / sizeof(action_flags[0]); i++) {
                if (action_flags[i].action == action)
                        return action_flags[i].at_once;
        }
        return false;
}

static int read_flags(struct flags *flags, int argc, char **argv, enum config_action *action,
                      struct config_error *error)
{
        for (int i = 1, used; i < argc && !is_at_once(*action); i += used) {
                char shown[256];

                if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2]) {
                        uri_mask(argv[i], shown, sizeof(shown));
                        return fail(error, "'%s' is not a flag (see --help)", shown);
                }
                if (read_flag(flags, argv + i, action, &used, error) != 0)
                        return -1;
        }
        return 0;
}

static int apply_flags(struct config *config, const struct flags *flags, struct config_error *error)
{
        struct config_option option;

        for (size_t i = 0; config_option_at(i, &option); i++) {
                char origin[64];

                snprintf(origin, sizeof(origin), "--%s", option.row->name);
                if (flags->values[i] && set(config, &option, origin, flags->values[i], error) != 0)
                        return -1;
        }
        return 0;
}

/* ---- environment and defaults ---- */

static const char *environment(const char *name)
{
        const char *value = getenv(name);

        return value && *value ? value : NULL;
}

/* The name or the home directory of this process's user; empty: it has no passwd entry. */
static void own_passwd(bool home, char *out, size_t size)
{
        char buffer[4096];
        struct passwd passwd, *found = NULL;

        *out = '\0';
        if (getpwuid_r(geteuid(), &passwd, buffer, sizeof(buffer), &found) == 0 && found)
                snprintf(out, size, "%s", home ? found->pw_dir : found->pw_name);
}

static int set_by_name(struct config *config, const char *name, const char *origin, const char *text,
                       struct config_error *error)
{
        struct config_option option;
        bool found = config_option_find(slice_of(name), &option);

        assert(found);
        (void)found;
        return set(config, &option, origin, text, error);
}

static int default_socket(struct config *config, struct config_error *error)
{
        const char *runtime = environment("XDG_RUNTIME_DIR");
        char text[4096];

        own_passwd(false, text, sizeof(text));
        if (geteuid() == 0 || strcmp(text, "gramd") == 0)
                return set_by_name(config, "socket", "socket", "/run/gramd/gramd.sock", error);
        if (!runtime)
                return 0;
        snprintf(text, sizeof(text), "%s/gramd.sock", runtime);
        return set_by_name(config, "socket", "$XDG_RUNTIME_DIR: socket", text, error);
}

static int default_data(struct config *config, struct config_error *error)
{
        const char *state = environment("STATE_DIRECTORY"), *home = environment("HOME");
        char text[4096], passwd_home[2048];

        if (state) { /* a unit may have several: the first */
                snprintf(text, sizeof(text), "%.*s", (int)strcspn(state, ":"), state);
                return set_by_name(config, "data", "$STATE_DIRECTORY", text, error);
        }
        if (!home) {
                own_passwd(true, passwd_home, sizeof(passwd_home));
                home = passwd_home;
        }
        if (!*home)
                return fail(error, "no data directory: there is no home directory; give --data DIR");
        snprintf(text, sizeof(text), "%s/.local/state/gramd", home);
        return set_by_name(config, "data", "$HOME: data", text, error);
}

static int read_all(struct config *config, const struct flags *flags, struct config_error *error)
{
        const char *path = flags->config_file ? flags->config_file : default_file;
        const char *socket = environment("GRAMD_SOCKET");

        if (!config_values_reset(config))
                return fail(error, "no memory");
        if (config_file_read(config, path, !flags->config_file, error) != 0)
                return -1;
        if (socket && set_by_name(config, "socket", "$GRAMD_SOCKET", socket, error) != 0)
                return -1;
        if (apply_flags(config, flags, error) != 0)
                return -1;
        if (!config->socket && default_socket(config, error) != 0)
                return -1;
        return config->data ? 0 : default_data(config, error);
}

int config_init(struct config *config, int argc, char **argv, enum config_action *action,
                struct config_error *error)
{
        __attribute__((cleanup(flags_deinit))) struct flags flags = {
                .values = calloc(config_option_count(), sizeof(*flags.values))
        };

        *config = (struct config){ 0 };
        *action = CONFIG_RUN;
        error->text[0] = '\0';
        if (!flags.values || !config_values_init(config))
                return fail(error, "no memory");
        if (read_flags(&flags, argc, argv, action, error) != 0)
                return -1;
        return is_at_once(*action) ? 0 : read_all(config, &flags, error);
}

void config_deinit(struct config *config)
{
        config_values_deinit(config);
        free(config->config_file);
        access_deinit(&config->access);
        *config = (struct config){ 0 };
}

/* ---- reload ---- */

int config_reload(const struct config *running, int argc, char **argv, struct config *fresh,
                  struct config_error *error)
{
        struct config_option option;
        enum config_action action;
        size_t len = 0;

        if (config_init(fresh, argc, argv, &action, error) != 0)
                return -1;
        for (size_t i = 0; config_option_at(i, &option) && len < sizeof(fresh->restart); i++) {
                if (!option.reloads && !config_option_equal(&option, running, fresh))
                        len += (size_t)snprintf(fresh->restart + len, sizeof(fresh->restart) - len, "%s%s",
                                                len ? ", " : "", option.row->name);
        }
        return 0;
}

void config_adopt(struct config *running, struct config *fresh)
{
        struct access access = running->access;
        struct config_option option;

        running->access = fresh->access;
        fresh->access = access;
        for (size_t i = 0; config_option_at(i, &option); i++) {
                if (option.reloads)
                        config_option_swap(&option, running, fresh);
        }
}

/* ---- for people ---- */

/* Prints `text` in lines of at most 78 columns, each with `indent` in front. */
static void print_wrapped(const char *indent, const char *text)
{
        size_t room = 78 - strlen(indent);

        while (*text) {
                size_t len = strlen(text);

                if (len > room) {
                        for (len = room; len && text[len] != ' '; len--)
                                continue;
                        len = len ? len : room;
                }
                printf("%s%.*s\n", indent, (int)len, text);
                text += len;
                text += strspn(text, " ");
        }
}

static void print_rule(void *arg, const char *who, const char *text)
{
        (void)arg;
        printf("%s = %s\n", who, text);
}

void config_print(const struct config *config)
{
        char text[TEXT_MAX];
        struct config_option option;
        const char *section = NULL;

        for (size_t i = 0; config_option_at(i, &option); i++) {
                bool secret = config_option_get(&option, config, text, sizeof(text));

                if (option.section && option.section != section)
                        printf("[%s]\n", option.section);
                section = option.section;
                print_wrapped("# ", option.row->help);
                if (secret)
                        print_wrapped("# ", "It holds a password, which is not printed:");
                printf("%s%s =%s%s\n\n", secret || !*text ? "# " : "", option.row->name, *text ? " " : "",
                       text);
        }
        print_wrapped(
                "# ",
                "Who may do what: 'user NAME', 'group NAME' or 'everyone' = read, write or admin, "
                "'on' sessions, 'in' backends. The owner of a session needs no rule to read and write it. "
                "Without a rule everyone may create sessions, and use those that have no owner.");
        printf("[access]\n");
        access_each(&config->access, print_rule, NULL);
}

void config_help(void)
{
        char preset[256];
        struct config_option option;

        printf("gramd keeps the sessions of Telegram client programs.\n\nUsage: gramd [FLAG]...\n\n");
        printf("  --config FILE\n");
        print_wrapped("        ", "The configuration file, in which every option below can stand without its "
                                  "dashes. Default: /etc/gramd/gramd.conf, where it exists.");
        for (size_t i = 0; config_option_at(i, &option); i++) {
                const char *argument = config_option_argument(&option);

                printf("  --%s%s%s\n", option.row->name, argument ? " " : "[=yes|no]",
                       argument ? argument : "");
                print_wrapped("        ", option.row->help);
                config_option_default(&option, preset, sizeof(preset));
                if (*preset)
                        printf("        Default: %s.\n", preset);
        }
        for (size_t i = 0; i < sizeof(action_flags) / sizeof(action_flags[0]); i++) {
                printf("  --%s\n", action_flags[i].name);
                print_wrapped("        ", action_flags[i].help);
        }
}
