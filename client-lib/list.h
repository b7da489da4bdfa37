#ifndef GRAMD_CLIENT_LIB_LIST_H
#define GRAMD_CLIENT_LIB_LIST_H

/*
 * Doubly linked lists whose links live inside the objects. A list's head is a link too; a link that is in no
 * list points at itself, so that taking it out again is harmless.
 */

#include <stdbool.h>
#include <stddef.h>

struct link {
        struct link *prev;
        struct link *next;
};

#define LIST_OWNER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct link *head)
{
        head->prev = head;
        head->next = head;
}

static inline bool list_empty(const struct link *head)
{
        return head->next == head;
}

static inline void list_remove(struct link *link)
{
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}

static inline void list_insert_after(struct link *place, struct link *link)
{
        link->prev = place;
        link->next = place->next;
        place->next->prev = link;
        place->next = link;
}

static inline void list_append(struct link *head, struct link *link)
{
        list_insert_after(head->prev, link);
}

#endif
