#ifndef GRAMD_BACKENDS_DIALECT_H
#define GRAMD_BACKENDS_DIALECT_H

/*
 * The `.session` files of the client libraries, as data: what their tables and columns mean, how a file is
 * recognised, what the newest version of a library creates, and the gramd_… tables, which hold what a dialect
 * has no column for. Constant tables without code; any thread may read them.
 */

#include "../proto/records.h"

/* The table of peers. NULL: the dialect has no such column. */
struct peers_layout {
        const char *table;
        const char *access_hash;
        const char *type;
        const char *username;
        const char *phone_number;
        const char *last_update_on;
        bool own_row_zero; /* the row with id 0 is no peer: its hash is the id of the account itself */
};

/* The table of usernames, one row for each name of each peer. */
struct names_layout {
        const char *table;
        const char *name;
        const char *owner;
        const char *last_update_on; /* NULL: rows have no time */
        bool one_owner;             /* a name has one row, the last writer's */
};

/* One row for each shape of file that can be distinguished. */
struct dialect {
        const char *group; /* as `open` reports it */
        const char *version_column;
        int version_from, version_to;
        unsigned fields; /* FIELD_BITs of the columns that `sessions` must have */
        const struct peers_layout *peers;
        bool username_optional;           /* fresh files have no column for a peer's own username */
        const struct names_layout *names; /* NULL: gramd_usernames */
        const char *names_ddl;  /* NULL, or: the library creates the table only when it first needs it */
        bool states;            /* has update_state; else gramd_update_state */
        bool empty_key;         /* an empty blob, not NULL, stands for no auth key */
        bool may_lack_session;  /* `sessions` may be without a row */
        bool nil_state_is_zero; /* its library cannot read NULL in update_state */
};

/* Ends with a row whose group is NULL. */
extern const struct dialect dialects[];

/* What the newest version of a library writes into a new file. */
struct library {
        const char *name; /* as in `open`'s option `dialect` */
        const char *version_column;
        int version;
        bool wal;                  /* its files are in WAL mode */
        bool address;              /* `sessions` has address and port: they start as DC 2's */
        const char *const *schema; /* NULL-terminated statements */
        const char *session;       /* the first row of `sessions`, without address and port */
};

/* Ends with a row whose name is NULL; the first is the default. */
extern const struct library libraries[];

/* The tables that gramd adds to a file when it needs them, and drops when they are empty. */
enum extra {
        EXTRA_FIELDS,     /* identity fields that have no column, or that their column cannot hold */
        EXTRA_PEERS,      /* the same for parts of peers */
        EXTRA_NAMES,      /* usernames, where the library keeps none apart */
        EXTRA_STATES,     /* update states, where the library keeps none */
        EXTRA_ZERO,       /* a peer with id 0, where the library uses row 0 otherwise */
        EXTRA_NILS,       /* which parts of a state are nil, where the library needs numbers */
        EXTRA_REMEMBERED, /* the daemon's memory of the last writes */
        EXTRA_SEALED,     /* the session's id, and what is sealed */
        EXTRA_KV,         /* the key-value area */
        EXTRA_COUNT,
};

struct extra_table {
        const char *name;
        const char *index; /* its index; or its own name, if it has none */
        /* As gramd makes it. What is there under these names and is not exactly that is not gramd's. */
        const char *ddl;
};

extern const struct extra_table extra_tables[EXTRA_COUNT];
extern const struct names_layout extra_names; /* the layout of EXTRA_NAMES */

#endif
