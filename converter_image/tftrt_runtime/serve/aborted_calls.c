/* Gives back what TensorFlow keeps of calls that an operation refused: aborted_calls.py has it called after each.
 *
 * Every call of a function has a rendezvous. Where an operation fails, `LocalRendezvous::StartAbort` puts a reference to
 * it into a vector of the whole process, "deliberately leaked" (tensorflow/core/framework/local_rendezvous.h of 2.14.1),
 * so that whoever looks for the rendezvous of a distributed step finds the error. Nothing of one process looks for it
 * after the call, and nothing empties the vector: `ReleaseAbortedRendezvous`, which would, is for TensorFlow's own tests
 * and in none of its libraries. So this does what it does, for those that no call has any more.
 *
 * In the Itanium ABI (sections 2.4 and 2.5.2), with the classes of 2.14.1: a `Rendezvous` begins with the table of
 * `RendezvousInterface`; behind it comes `WeakRefCounted`, a table and the count of `tsl::core::RefCounted`, whose first
 * virtual functions are its two destructors, of which the second frees, and `NotifyDeleted`.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct counted {
    const struct {
        void (*destroy)(struct counted *);
        void (*destroy_and_free)(struct counted *);
        void (*notify_deleted)(struct counted *);
    } *table;
    _Atomic int_fast32_t references;
};

struct rendezvous {
    const void *table;
    struct counted counted;
};

struct vector { /* libstdc++'s, of RefCountPtr, which is one pointer */
    struct rendezvous **begin, **end, **room;
};

static int by_address(const void *one, const void *other) {
    uintptr_t a = (uintptr_t)*(struct rendezvous *const *)one, b = (uintptr_t)*(struct rendezvous *const *)other;
    return (a > b) - (a < b);
}

/* How often the first one of a sorted row stands in it. */
static size_t times(struct rendezvous **first, struct rendezvous **end) {
    struct rendezvous **next = first + 1;
    while (next < end && *next == *first) next++;
    return next - first;
}

/* Take those out of the vector that nothing but it refers to, and drop them; how many entries. `mutex` guards the vector.
 *
 * A call of several devices has an executor on each, and stands in the vector once for each that has aborted it. */
size_t tftrt_release(struct vector *kept, void *mutex, void (*lock)(void *), void (*unlock)(void *)) {
    lock(mutex);
    size_t count = 0, length = kept->end - kept->begin;
    struct rendezvous **last = malloc(length * sizeof *last);
    if (last) {
        qsort(kept->begin, length, sizeof *last, by_address);
        struct rendezvous **used = kept->begin, **one = kept->begin;
        while (one < kept->end) {
            size_t entries = times(one, kept->end);
            int_fast32_t references = atomic_load_explicit(&(*one)->counted.references, memory_order_acquire);
            bool unused = references == (int_fast32_t)entries;
            for (; entries; entries--, one++)
                if (unused) last[count++] = *one;
                else *used++ = *one;
        }
        kept->end = used;
    }
    unlock(mutex);
    for (size_t i = 0; i < count;) {
        struct counted *counted = &last[i]->counted;
        int_fast32_t entries = times(last + i, last + count);
        i += entries;
        if (atomic_fetch_sub_explicit(&counted->references, entries, memory_order_acq_rel) != entries) continue;
        counted->table->notify_deleted(counted);
        counted->table->destroy_and_free(counted);
    }
    free(last);
    return count;
}
