#ifndef GRAMD_BACKENDS_MONGO_RELEASE_H
#define GRAMD_BACKENDS_MONGO_RELEASE_H

/*
 * Sessions that this daemon gives back to other hosts: those that are still to be released, and the news of
 * the last ones that were. The instance's thread writes both. Any thread may call these functions.
 */

#include "mongo.h"

/* Fields of the instance's document. */
#define MONGO_RELEASED "released" /* how many sessions it has released */
#define MONGO_NAMES "names"       /* the last of them, the newest last */
enum { RELEASES_KEPT = 64 };

struct mongo_releases *mongo_releases_new(struct backend_env *env);
void mongo_releases_free(struct mongo_releases *releases);

/* Compare-and-swap on the session's document. 0: it is released, or had another owner. */
int mongo_release(struct mongo_releases *releases, mongoc_client_t *client, const struct mongo_place *place,
                  const char *owner, int64_t fence, bson_error_t *error);
/* The session is free: its document was released, or deleted. Other hosts are told. */
void mongo_release_note(struct mongo_releases *releases, const struct mongo_place *place);
/* The session could not be released: that is repeated until it succeeds. A swap of it that may still land
 * finds another fence then, and does not match. */
void mongo_release_later(struct mongo_releases *releases, const struct backend_session *session);
/* Is one of this key to be released? */
bool mongo_releases_has(struct mongo_releases *releases, const char *key);

/* Writes those that are due, until that time of CLOCK_BOOTTIME. After a failure they are due again in
 * `retry_ms`. */
void mongo_releases_write(struct mongo_releases *releases, mongoc_client_t *client, int64_t until_ms,
                          int64_t retry_ms);
/* When the next is due, of CLOCK_BOOTTIME. INT64_MAX: none is left. */
int64_t mongo_releases_due_ms(struct mongo_releases *releases);
/* Until when clients may rely on this session, of CLOCK_BOOTTIME. 0: none of its releases waits for that. */
int64_t mongo_releases_lent_until_ms(struct mongo_releases *releases, const struct mongo_place *place);
/* How many are left. Never blocks. */
size_t mongo_releases_left(const struct mongo_releases *releases);
/* Appends the news to the fields that a renewal sets. */
void mongo_releases_append(struct mongo_releases *releases, bson_t *set);

#endif
