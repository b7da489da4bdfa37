#ifndef GRAMD_PROTO_LINK_H
#define GRAMD_PROTO_LINK_H

/* Intrusive doubly linked lists. The head is a link too; in an empty list it points to itself. */

#include <stdbool.h>
#include <stddef.h>

struct link {
        struct link *prev;
        struct link *next;
};

#define LINK_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void link_init(struct link *link)
{
        link->prev = link->next = link;
}

static inline bool link_empty(const struct link *head)
{
        return head->next == head;
}

static inline void link_insert_after(struct link *place, struct link *link)
{
        link->prev = place;
        link->next = place->next;
        place->next->prev = link;
        place->next = link;
}

static inline void link_append(struct link *head, struct link *link)
{
        link_insert_after(head->prev, link);
}

/* A link that is in no list, as after link_init(), stays so. */
static inline void link_remove(struct link *link)
{
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link_init(link);
}

/* Moves all of `from` to the end of `to`. */
static inline void link_move_all(struct link *to, struct link *from)
{
        if (link_empty(from))
                return;
        from->next->prev = to->prev;
        from->prev->next = to;
        to->prev->next = from->next;
        to->prev = from->prev;
        link_init(from);
}

#endif
