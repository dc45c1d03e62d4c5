/* What connections.c knows of the requests that tritonserver reads. */
#include <stdbool.h>
#include <stdint.h>

/* Whether the request of this thread can have so many elements in one tensor. Over gRPC any can, for the message brings
 * each tensor's bytes with it, and so can one whose tensors are in shared memory. */
__attribute__((visibility("hidden"))) bool can_be_held(uint64_t elements);
