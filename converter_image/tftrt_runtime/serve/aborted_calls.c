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

/* Take the references that are the last ones out of the vector, and drop them; how many. `mutex` guards the vector. */
size_t tftrt_release(struct vector *kept, void *mutex, void (*lock)(void *), void (*unlock)(void *)) {
    lock(mutex);
    size_t count = 0, length = kept->end - kept->begin;
    struct rendezvous **last = malloc(length * sizeof *last);
    if (last) {
        struct rendezvous **used = kept->begin;
        for (struct rendezvous **one = kept->begin; one < kept->end; one++)
            if (atomic_load_explicit(&(*one)->counted.references, memory_order_acquire) == 1) last[count++] = *one;
            else *used++ = *one;
        kept->end = used;
    }
    unlock(mutex);
    for (size_t i = 0; i < count; i++) {
        struct counted *counted = &last[i]->counted;
        if (atomic_fetch_sub_explicit(&counted->references, 1, memory_order_acq_rel) != 1) continue;
        counted->table->notify_deleted(counted);
        counted->table->destroy_and_free(counted);
    }
    free(last);
    return count;
}
