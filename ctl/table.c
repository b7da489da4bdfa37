/* gramctl's commands and options. The rest, also --help and what the shell completes, is derived from these.
 */

#include "table.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "ctl.h"

enum {
        ALL = 8191, /* the sum of the others */
        LIST = 1,
        SHOW = 2,
        EXPORT = 4,
        IMPORT = 8,
        DRAIN = 16,
        OTHER = 32,
        SEAL = 64,
        KEY = COMMAND_KEY,
        CHOWN = 256,
        KV = 512,
        MONITOR = COMMAND_MONITOR,
        DELETE = 2048,
        DISCONNECT = 4096,
        CHANGES = IMPORT | DRAIN | SEAL | CHOWN | DELETE | DISCONNECT, /* these only say what they did */
};

const struct command commands[] = {
        { "ping", GROUP_DAEMON, "does the daemon answer?", "", 0, 0, OTHER, ctl_ping,
          "ask the daemon whether it answers" },
        { "list", GROUP_SESSION, "stored and open sessions", "[GLOB]", 0, 1, LIST, ctl_list,
          "list stored and open sessions" },
        { "show", GROUP_SESSION, "one of them in full", "NAME", 1, 1, SHOW, ctl_show,
          "show a session: its storage, account and counts, but not its key" },
        { "export", GROUP_ACCOUNT, "a session as a string", "NAME", 1, 1, EXPORT, ctl_export,
          "print a session as a string, for a client library" },
        { "import", GROUP_ACCOUNT, "store a session string", "NAME [FILE]", 1, 2, IMPORT, ctl_import,
          "store the session string in FILE, or on standard input, as session NAME" },
        { "delete", GROUP_SESSION, "delete sessions", "NAME...", 1, INT_MAX, DELETE, ctl_delete,
          "delete sessions, with the keys of their accounts" },
        { "clients", GROUP_DAEMON, "who is connected", "", 0, 0, OTHER, ctl_clients,
          "list who is connected" },
        { "disconnect", GROUP_DAEMON, "end a connection", "ID", 1, 1, DISCONNECT, ctl_disconnect,
          "end the connection of a client" },
        { "monitor", GROUP_DAEMON, "requests as they come", "", 0, 0, MONITOR, ctl_monitor,
          "show the requests of all clients as they are answered" },
        { "stats", GROUP_DAEMON, "its counters", "", 0, 0, OTHER, ctl_stats, "print the daemon's counters" },
        { "seal", GROUP_SEALING, "encrypt stored keys", "NAME...", 0, INT_MAX, SEAL, ctl_seal,
          "seal the auth keys and the key-value areas of these sessions, or of all" },
        { "unseal", GROUP_SEALING, "store them in the clear", "NAME...", 0, INT_MAX, SEAL, ctl_unseal,
          "store both in the clear again" },
        { "rotate", GROUP_SEALING, "seal with the newest key", "NAME...", 0, INT_MAX, SEAL, ctl_rotate,
          "seal with the daemon's current key what a former one sealed" },
        { "chown", GROUP_SESSION, "give sessions an owner", "OWNER NAME...", 1, INT_MAX, CHOWN, ctl_chown,
          "give these sessions to OWNER, which is user or user:group; `-` takes the owner away" },
        { "kv", GROUP_SESSION, "their key-value areas", "VERB SESSION [KEY...]", 2, INT_MAX, KV, ctl_kv,
          "get, set, swap, scan or delete keys of the session's key-value area" },
        { "key", GROUP_SEALING, "make a key that seals", "new FILE", 2, 2, KEY, ctl_key,
          "put a new current key into a key file, and keep the former ones; `-` prints it" },
        { "drain", GROUP_DAEMON, "to the other hosts", "", 0, 0, DRAIN, ctl_drain,
          "hand the sessions on MongoDB over to other hosts, and wait until that is done" },
};

const struct option_row options[] = {
        { "socket", "PATH", ALL, offsetof(struct ctl, socket),
          "the daemon's socket (else $GRAMD_SOCKET, $XDG_RUNTIME_DIR/gramd.sock, /run/gramd/gramd.sock)" },
        { "json", NULL, ALL, offsetof(struct ctl, json), "print JSON" },
        { "quiet", NULL, CHANGES, offsetof(struct ctl, quiet), "say nothing but errors" },
        { "timeout", "SECONDS", ALL, offsetof(struct ctl, timeout), "how long to wait for an answer (30)" },
        { "backend", "NAME", SHOW | EXPORT | IMPORT | SEAL | CHOWN | KV | DELETE,
          offsetof(struct ctl, backend),
          "where the session is stored: file, memory, mongo (the daemon's default)" },
        { "format", "NAME", EXPORT | IMPORT, offsetof(struct ctl, format),
          "format of the string (export: pyrogram; import: detected); gramctl(1) lists the formats" },
        { "output", "FILE", EXPORT, offsetof(struct ctl, output),
          "write a new file, readable by you alone, instead of standard output" },
        { "force", NULL, EXPORT | DELETE, offsetof(struct ctl, force),
          "export: print the string on a terminal, overwrite the file of --output; delete: also what others "
          "have open" },
        { "overwrite", NULL, IMPORT, offsetof(struct ctl, overwrite),
          "replace the key of a session that has another one" },
        { "api-id", "NUMBER", IMPORT, offsetof(struct ctl, api_id),
          "the application's api_id, for formats that contain none" },
        { "dialect", "NAME", IMPORT, offsetof(struct ctl, dialect),
          "layout of a new session: pyrogram, hydrogram, pyrofork, electrogram, kurigram, irenogram, "
          "pyrotgfork, telethon" },
        { "ttl", "SECONDS", KV, offsetof(struct ctl, ttl), "set, swap: the value expires then" },
        { "expected", "VALUE", KV, offsetof(struct ctl, expected),
          "swap, delete: only if the key has this value; swap without it: if it has none" },
        { "expected-file", "FILE", KV, offsetof(struct ctl, expected_file),
          "the same, with the value in a file" },
        { "wait", "SECONDS", DRAIN, offsetof(struct ctl, wait),
          "how long to wait until the sessions are handed over (without end)" },
        { "no-wait", NULL, DRAIN, offsetof(struct ctl, no_wait), "start the drain and return" },
        { "off", NULL, DRAIN, offsetof(struct ctl, off), "end the drain: sessions are opened here again" },
        { "yes", NULL, DELETE, offsetof(struct ctl, yes), "do not ask" },
        { "session", "GLOB", MONITOR, offsetof(struct ctl, session), "only requests on these sessions" },
        { "method", "NAME", MONITOR, offsetof(struct ctl, method), "only requests of this method" },
        { "slower-than", "MS", MONITOR, offsetof(struct ctl, slower_than),
          "only requests that took so many milliseconds" },
        { "all", NULL, SEAL, offsetof(struct ctl, all), "all stored sessions, also of other backends" },
        { "all-without-owner", NULL, CHOWN, offsetof(struct ctl, all),
          "all stored and open sessions that have no owner, also of other backends" },
        { "help", NULL, ALL, offsetof(struct ctl, help), "print this, or a command's own help" },
        { "version", NULL, ALL, offsetof(struct ctl, version), "print the version" },
};

const int n_commands = sizeof(commands) / sizeof(*commands), n_options = sizeof(options) / sizeof(*options);
_Static_assert(sizeof(options) / sizeof(*options) <= OPTIONS_MAX, "options_read() returns a set of them");

const struct command *command_find(const char *name)
{
        for (int i = 0; i < n_commands; i++) {
                if (strcmp(commands[i].name, name) == 0)
                        return &commands[i];
        }
        return NULL;
}
