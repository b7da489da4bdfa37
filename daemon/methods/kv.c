/* The key-value area of a session. */

#include "methods.h"

/* False: the session's backend has no such area, and the request is answered. */
static bool has_area(struct call *call)
{
        const struct backend *backend = call->session->storage->backend;

        if (backend->kv_get)
                return true;
        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: the backend %s has no key-value area",
                     call->request.method->name, backend->name);
        return false;
}

void method_kv_get(struct call *call)
{
        has_area(call);
}

void method_kv_set(struct call *call)
{
        has_area(call);
}

void method_kv_swap(struct call *call)
{
        has_area(call);
}

void method_kv_scan(struct call *call)
{
        has_area(call);
}
