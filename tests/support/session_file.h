#ifndef GRAMD_TESTS_SUPPORT_SESSION_FILE_H
#define GRAMD_TESTS_SUPPORT_SESSION_FILE_H

/*
 * Session files as the client libraries make them, new and migrated, without the libraries: the SQL that each
 * version runs. And functions to look into a file with SQL.
 */

#include <stdbool.h>
#include <stddef.h>

/* A kind of file: how it is made, and what it has. */
struct session_file {
        const char *name;
        const char *first;        /* the schema that it was created with, and its first rows */
        const char *const *steps; /* the migrations it went through; NULL-terminated, or NULL */
        const char *group;
        int version;
        bool telethon;
        bool api_id;
        bool address;
        bool usernames; /* it has a table for them, or its library makes one when needed */
        bool states;
        bool username; /* peers have a column for their own username */
        bool one_owner;
};

extern const struct session_file session_files[]; /* ends with a row whose name is NULL */

const struct session_file *session_file(const char *name);

/* Makes the file `path`. */
void session_file_make(const struct session_file *file, const char *path);

/* The steps of the libraries' own migrations, to be run on a file. */
extern const char step_1_to_2[];
extern const char step_2_to_3[];
extern const char pyrofork_3_to_4[];
extern const char kurigram_3_to_4[];
extern const char kurigram_4_to_5[];
extern const char kurigram_5_to_6[];
extern const char kurigram_6_to_7[]; /* for data centre 2 */
extern const char telethon_7_to_8[];

/* Runs SQL on a file, as a library's connection does: triggers run. Closes the file. */
void sql(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The rows of a query as malloc'ed text: cells joined with "|", rows with "; "; NULL as nil, text in quotes,
 * blobs as x'…'.
 */
char *sql_text(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
