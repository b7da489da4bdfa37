/*
 * A rule is parsed once, into what a check needs: a uid or gid, rights, patterns and a set of backends. A
 * check walks all rules, which are few. Nothing is cached, so a reload only replaces the rules.
 */

#include "access.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "glob.h"
#include "names.h"

struct access_rule {
        char *who_text; /* as written */
        char *text;
        enum { WHO_EVERYONE, WHO_USER, WHO_GROUP } who;
        id_t id;
        unsigned rights;
        char **globs; /* none: every session */
        size_t n_globs;
        bool has_names;    /* one of them has `%u` or `%g` */
        uint32_t backends; /* 1 << index in backends[]; 0: every backend */
};

/*
 * In a user namespace everybody can have 65,536 groups. Each connection and each open that waits keeps its
 * own, and a check walks them.
 */
enum { GROUPS_MAX = 1024 };

enum { PATTERN_BYTES = 4096 }; /* with names in it; a longer one matches nothing */

static const struct {
        const char *name;
        unsigned rights;
} right_names[] = {
        { "read", RIGHT_READ },
        { "write", RIGHT_READ | RIGHT_WRITE },
        { "admin", RIGHT_ADMIN },
};

/* ---- the peer ---- */

bool access_has_all(uid_t uid)
{
        return uid == 0 || (uid == geteuid() && uid != OVERFLOW_UID);
}

int credentials_init(struct credentials *credentials, int socket_fd)
{
        struct ucred peer;
        gid_t gids[1 + GROUPS_MAX];
        socklen_t len = sizeof(peer), room = sizeof(gids) - sizeof(gids[0]);

        assert(socket_fd >= 0);
        *credentials = (struct credentials){ .uid = (uid_t)-1 };
        if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
                return -errno;
        /* Rules only give rights: without the supplementary groups the peer may have fewer. */
        if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERGROUPS, gids + 1, &room) != 0)
                room = 0;
        gids[0] = peer.gid;
        credentials->gids = malloc(sizeof(gids[0]) + room);
        if (!credentials->gids)
                return -ENOMEM;
        memcpy(credentials->gids, gids, sizeof(gids[0]) + room);
        credentials->n_gids = 1 + room / sizeof(gids[0]);
        credentials->pid = peer.pid;
        credentials->uid = peer.uid;
        credentials->has_all = access_has_all(peer.uid);
        return 0;
}

void credentials_deinit(struct credentials *credentials)
{
        names_unref(credentials->names);
        free(credentials->gids);
        *credentials = (struct credentials){ .uid = (uid_t)-1 };
}

/* ---- reading rules ---- */

struct parser {
        const char *at;
        char *why;
        size_t why_size;
};

static bool fail(const struct parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(const struct parser *parser, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(parser->why, parser->why_size, format, args);
        va_end(args);
        return false;
}

static void skip_space(struct parser *parser)
{
        parser->at += strspn(parser->at, " \t");
}

/* The next word. It ends before a space or comma without a backslash. */
static struct slice word(struct parser *parser)
{
        const char *start = parser->at;

        while (*parser->at && !strchr(" \t,", *parser->at))
                parser->at += parser->at[0] == '\\' && parser->at[1] ? 2 : 1;
        return (struct slice){ start, (size_t)(parser->at - start) };
}

typedef bool (*word_fn)(struct access_rule *rule, struct slice text, struct parser *parser);

static bool add_right(struct access_rule *rule, struct slice text, struct parser *parser)
{
        for (size_t i = 0; i < sizeof(right_names) / sizeof(right_names[0]); i++) {
                if (slice_is(text, right_names[i].name)) {
                        rule->rights |= right_names[i].rights;
                        return true;
                }
        }
        return fail(parser, "unknown right '%.*s' (read, write, admin)", (int)text.len, text.data);
}

/* Which of `%u` and `%g` the pattern has. False: it has another `%`, or also a set. */
static bool find_names(const char *glob, bool *user, bool *group)
{
        bool set = false;

        *user = *group = false;
        for (const char *at = glob; *at; at++) {
                if (*at == '\\' && at[1]) {
                        at++;
                } else if (*at == '[') {
                        set = true;
                } else if (*at == '%') {
                        at++;
                        *user |= *at == 'u';
                        *group |= *at == 'g';
                        if (*at != 'u' && *at != 'g' && *at != '%')
                                return false;
                }
        }
        return !(set && (*user || *group));
}

static bool add_glob(struct access_rule *rule, struct slice text, struct parser *parser)
{
        char **globs = realloc(rule->globs, (rule->n_globs + 1) * sizeof(*globs));
        bool user, group;

        if (!globs)
                return fail(parser, "no memory");
        rule->globs = globs;
        globs[rule->n_globs] = strndup(text.data, text.len);
        if (!globs[rule->n_globs])
                return fail(parser, "no memory");
        rule->n_globs++;
        if (!find_names(globs[rule->n_globs - 1], &user, &group))
                return fail(
                        parser,
                        "'%.*s': %% is followed by u (the user), g (his groups) or %%; a pattern with u or g "
                        "has no [",
                        (int)text.len, text.data);
        rule->has_names |= user || group;
        return true;
}

static uint32_t backend_bit(struct slice name)
{
        for (unsigned i = 0; backends[i]; i++) {
                assert(i < 32);
                if (slice_is(name, backends[i]->name))
                        return (uint32_t)1 << i;
        }
        return 0;
}

static bool add_backend(struct access_rule *rule, struct slice text, struct parser *parser)
{
        uint32_t bit = backend_bit(text);

        rule->backends |= bit;
        return bit || fail(parser, "unknown backend '%.*s'", (int)text.len, text.data);
}

/* One or more words with commas between them. */
static bool read_list(struct access_rule *rule, struct parser *parser, const char *what, word_fn add)
{
        for (;;) {
                struct slice text;

                skip_space(parser);
                text = word(parser);
                if (!text.len)
                        return fail(parser, "%s missing before '%s'", what, parser->at);
                if (!add(rule, text, parser))
                        return false;
                skip_space(parser);
                if (*parser->at != ',')
                        return true;
                parser->at++;
        }
}

static bool read_rule(struct access_rule *rule, struct parser *parser)
{
        if (!read_list(rule, parser, "right", add_right))
                return false;
        while (*parser->at) {
                struct slice keyword = word(parser);
                bool ok;

                if (slice_is(keyword, "on") && !rule->n_globs)
                        ok = read_list(rule, parser, "session name", add_glob);
                else if (slice_is(keyword, "in") && !rule->backends)
                        ok = read_list(rule, parser, "backend", add_backend);
                else
                        return fail(parser,
                                    "expected 'on SESSIONS' or 'in BACKENDS', once each, not '%.*s%s'",
                                    (int)keyword.len, keyword.data, parser->at);
                if (!ok)
                        return false;
        }
        if (rule->rights & RIGHT_ADMIN && (rule->n_globs || rule->backends))
                return fail(parser, "'admin' is for the whole daemon: give it a rule without 'on' and 'in'");
        return true;
}

/* 0, or an errno. `*found` false: there is no user or group of this name. */
static int lookup_id(bool user, const char *name, id_t *id, bool *found)
{
        char *buffer = NULL;
        int error = ERANGE;

        for (size_t size = 1024; error == ERANGE && size <= ((size_t)1 << 24); size *= 4) {
                struct passwd passwd, *a_user = NULL;
                struct group group, *a_group = NULL;
                char *more = realloc(buffer, size);

                if (!more) {
                        error = ENOMEM;
                        break;
                }
                buffer = more;
                if (user)
                        error = getpwnam_r(name, &passwd, buffer, size, &a_user);
                else
                        error = getgrnam_r(name, &group, buffer, size, &a_group);
                *found = a_user || a_group;
                *id = a_user ? a_user->pw_uid : a_group ? a_group->gr_gid : (id_t)-1;
        }
        free(buffer);
        /* NSS modules also report a missing name with these: getpwnam_r(3). */
        return error == ENOENT || error == ESRCH || error == EBADF || error == EPERM ? 0 : error;
}

/* A number, or a name. */
static bool find_id(struct access_rule *rule, const char *name, struct parser *parser)
{
        bool user = rule->who == WHO_USER, found = false;
        const char *kind = user ? "user" : "group";
        int error;

        if (!*name)
                return fail(parser, "the name of the %s is missing", kind);
        if (name[strspn(name, "0123456789")] == '\0') {
                unsigned long long number = strtoull(name, NULL, 10);

                rule->id = (id_t)number;
                return number < UINT32_MAX || fail(parser, "%s number '%s' is too large", kind, name);
        }
        error = lookup_id(user, name, &rule->id, &found);
        if (error)
                return fail(parser, "%s '%s' cannot be looked up: %s", kind, name, strerror(error));
        return found || fail(parser, "unknown %s '%s'", kind, name);
}

static bool read_id(struct access_rule *rule, const char *name, struct parser *parser)
{
        if (!find_id(rule, name, parser))
                return false;
        return rule->id != (rule->who == WHO_USER ? OVERFLOW_UID : OVERFLOW_GID) ||
               fail(parser,
                    "%s '%s' stands for all that a user namespace does not map: only 'everyone' is for them",
                    rule->who == WHO_USER ? "user" : "group", name);
}

static bool read_who(struct access_rule *rule, const char *who, struct parser *parser)
{
        size_t len = strcspn(who, " \t");
        struct slice kind = { who, len };
        const char *name = who + len + strspn(who + len, " \t");

        if (slice_is(kind, "everyone") && !*name)
                return true;
        if (slice_is(kind, "user"))
                rule->who = WHO_USER;
        else if (slice_is(kind, "group"))
                rule->who = WHO_GROUP;
        else
                return fail(parser, "expected 'user NAME', 'group NAME' or 'everyone', not '%s'", who);
        return read_id(rule, name, parser);
}

static void rule_deinit(struct access_rule *rule)
{
        for (size_t i = 0; i < rule->n_globs; i++)
                free(rule->globs[i]);
        free(rule->globs);
        free(rule->who_text);
        free(rule->text);
}

bool access_add(struct access *access, const char *who, const char *text, char *why, size_t why_size)
{
        struct access_rule rule = { .who = WHO_EVERYONE, .who_text = strdup(who), .text = strdup(text) };
        struct parser parser = { text, why, why_size };
        struct access_rule *rules = NULL;

        if (read_who(&rule, who, &parser) && read_rule(&rule, &parser)) {
                if (rule.who_text && rule.text)
                        rules = realloc(access->rules, (access->n_rules + 1) * sizeof(*rules));
                if (!rules)
                        fail(&parser, "no memory");
        }
        if (!rules) {
                rule_deinit(&rule);
                return false;
        }
        access->rules = rules;
        access->rules[access->n_rules++] = rule;
        access->has_names |= rule.has_names;
        return true;
}

void access_each(const struct access *access, void (*rule)(void *arg, const char *who, const char *text),
                 void *arg)
{
        for (size_t i = 0; i < access->n_rules; i++)
                rule(arg, access->rules[i].who_text, access->rules[i].text);
}

void access_deinit(struct access *access)
{
        for (size_t i = 0; i < access->n_rules; i++)
                rule_deinit(&access->rules[i]);
        free(access->rules);
        *access = (struct access){ .n_rules = 0 };
}

/* ---- checks ---- */

static bool is_for(const struct access_rule *rule, const struct credentials *credentials)
{
        if (credentials->uid == OVERFLOW_UID)
                return rule->who == WHO_EVERYONE;
        if (rule->who == WHO_USER)
                return rule->id == credentials->uid;
        for (size_t i = 0; rule->who == WHO_GROUP && i < credentials->n_gids; i++) {
                if (rule->id == credentials->gids[i])
                        return true;
        }
        return rule->who == WHO_EVERYONE;
}

/* Each byte of a name stands for itself. NULL: there is no name, or no room. */
static char *append_name(char *to, const char *end, const char *name)
{
        if (!name || !*name || strlen(name) > (size_t)(end - to) / 2)
                return NULL;
        for (; *name; name++) {
                *to++ = '\\';
                *to++ = *name;
        }
        return to;
}

/* The pattern with these names in it. */
static bool match_with(const char *glob, const char *user, const char *group, struct slice session)
{
        char pattern[PATTERN_BYTES];
        const char *end = pattern + sizeof(pattern) - 1;
        char *to = pattern;

        for (const char *at = glob; *at && to; at++) {
                if (end - to < 2)
                        return false;
                if (*at == '%' && at[1] != '%')
                        to = append_name(to, end, *++at == 'u' ? user : group);
                else if (*at == '%')
                        *to++ = *at++;
                else if (*at == '\\' && at[1]) {
                        *to++ = *at++;
                        *to++ = *at;
                } else
                        *to++ = *at;
        }
        return to && glob_match((struct slice){ pattern, (size_t)(to - pattern) }, session);
}

static bool match(const char *glob, const struct names *names, struct slice session)
{
        bool user, group;

        if (!find_names(glob, &user, &group))
                return false;
        if (!group)
                return match_with(glob, names ? names->user : NULL, NULL, session);
        for (size_t i = 0; names && i < names->n_gids; i++)
                if (match_with(glob, names->user, names->groups[i].name, session))
                        return true;
        return false;
}

static bool is_in(const struct access_rule *rule, uint32_t backend)
{
        return !rule->backends || rule->backends & backend;
}

static bool is_on(const struct access_rule *rule, const struct names *names, struct slice session,
                  uint32_t backend)
{
        if (!is_in(rule, backend))
                return false;
        for (size_t i = 0; i < rule->n_globs; i++) {
                if (strchr(rule->globs[i], '%') ? match(rule->globs[i], names, session)
                                                : glob_match(slice_of(rule->globs[i]), session))
                        return true;
        }
        return rule->n_globs == 0;
}

size_t access_cost(const struct access *access, const struct credentials *credentials)
{
        return access->has_names ? 2 * access->n_rules * credentials->n_gids : 0;
}

unsigned access_rights(const struct access *access, const struct credentials *credentials,
                       struct slice session, const char *backend)
{
        uint32_t bit = backend ? backend_bit(slice_of(backend)) : 0;
        unsigned rights = RIGHT_NONE;

        if (credentials->has_all)
                return RIGHT_READ | RIGHT_WRITE | RIGHT_ADMIN;
        if (!access->n_rules)
                return session.data ? RIGHT_READ | RIGHT_WRITE : RIGHT_NONE;
        for (size_t i = 0; i < access->n_rules; i++) {
                const struct access_rule *rule = &access->rules[i];

                if (!is_for(rule, credentials))
                        continue;
                if (session.data && is_on(rule, credentials->names, session, bit))
                        rights |= rule->rights;
                rights |= rule->rights & RIGHT_ADMIN;
        }
        return rights;
}

bool access_hides(const struct access *access, const struct credentials *credentials, struct slice session,
                  const char *backend)
{
        uint32_t bit = backend ? backend_bit(slice_of(backend)) : 0;
        bool hides = false;

        if (!access->has_names || credentials->has_all)
                return false;
        for (size_t i = 0; i < access->n_rules; i++) {
                const struct access_rule *rule = &access->rules[i];

                if (!is_for(rule, credentials) || !is_in(rule, bit))
                        continue;
                if (is_on(rule, credentials->names, session, bit))
                        return false;
                hides |= rule->has_names;
        }
        return hides;
}
