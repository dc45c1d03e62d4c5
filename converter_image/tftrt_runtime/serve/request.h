/* What connections.c knows of the request that a thread of tritonserver has just read. */
#include <stdint.h>

/* How many elements its tensors can have at most; UINT64_MAX where that is not known: over gRPC, which brings each
 * tensor's bytes with it, and where the tensors are in shared memory. */
__attribute__((visibility("hidden"))) uint64_t most_elements(void);
