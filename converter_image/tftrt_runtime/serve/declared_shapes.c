/* Refuses a request that declares a shape which cannot be meant, before tritonserver goes by it; loaded with connections.c.
 *
 * tritonserver 2.51 makes room for as many elements as the JSON of a request declares before it looks at those that were
 * sent, so that a request of a few bytes can take all memory, and it hands batches of no item to the backend together with
 * those of other clients. This stands between its HTTP and gRPC front ends and the one function of libtritonserver.so by
 * which both declare an input. What is refused here is INVALID_ARGUMENT, over HTTP 400.
 */
#define _GNU_SOURCE
#include "request.h"
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { INVALID_ARGUMENT = 3 }; /* TRITONSERVER_ERROR_INVALID_ARG of tritonserver.h */

/* Whether the model has a batch in front; tftrt_runtime/serve/tritonserver.py says so. */
static int batched(void) {
    const char *told = getenv("TFTRT_BATCHED");
    return !told || *told != '0';
}

typedef void *add_input(void *request, const char *name, int datatype, const int64_t *shape, uint64_t dimensions);
typedef void *new_error(int code, const char *message);

/* The elements of a shape; UINT64_MAX where they are more than can be counted. Triton refuses negative sizes. */
static uint64_t elements(const int64_t *shape, uint64_t dimensions) {
    uint64_t product = 1;
    for (uint64_t i = 0; i < dimensions; i++)
        if (shape[i] <= 0) return 0;
    for (uint64_t i = 0; i < dimensions; i++)
        if (__builtin_mul_overflow(product, (uint64_t)shape[i], &product)) return UINT64_MAX;
    return product;
}

__attribute__((visibility("default"))) void *TRITONSERVER_InferenceRequestAddInput(
    void *request, const char *name, int datatype, const int64_t *shape, uint64_t dimensions) {
    char why[512] = "";
    uint64_t declared = elements(shape, dimensions);
    if (dimensions && !shape[0] && batched())
        snprintf(why, sizeof why, "it has no item: the first dimension of '%.64s' is 0", name);
    else if (dimensions && shape[0] > INT32_MAX && batched()) /* Triton takes the batch as 32 bits */
        snprintf(why, sizeof why, "the first dimension of '%.64s' is %lld, which no batch is", name, (long long)shape[0]);
    else if (declared == UINT64_MAX || !can_be_held(declared))
        snprintf(why, sizeof why, "the shape of '%.64s' has more elements than the request can hold", name);
    if (!*why) {
        add_input *next = (add_input *)dlsym(RTLD_NEXT, "TRITONSERVER_InferenceRequestAddInput");
        return next(request, name, datatype, shape, dimensions);
    }
    char message[sizeof why + 64];
    snprintf(message, sizeof message, "The request was refused: %s.", why);
    return ((new_error *)dlsym(RTLD_DEFAULT, "TRITONSERVER_ErrorNew"))(INVALID_ARGUMENT, message);
}
