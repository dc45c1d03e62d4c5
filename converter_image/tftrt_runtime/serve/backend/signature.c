#include "signature.h"
#include "message.h"
#include "triton.h"
#include <stdlib.h>
#include <string.h>

/* By Triton's numbers of types. */
static const uint64_t ELEMENT_BYTES[] = {0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 0, 2};

static struct named *names(const char **at, uint32_t *count) {
    *count = next(at);
    struct named *named = calloc(*count, sizeof *named);
    for (uint32_t i = 0; i < *count; i++) {
        named[i].type = next(at);
        named[i].element_bytes = ELEMENT_BYTES[named[i].type];
        named[i].name = next_text(at);
    }
    return named;
}

struct signature signature_read(const char *message) {
    struct signature read = {.batched = next(&message)};
    read.largest_batch = next(&message);
    read.input = names(&message, &read.inputs);
    read.output = names(&message, &read.outputs);
    return read;
}

static void forget(struct named *named, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) free(named[i].name);
    free(named);
}

void signature_free(struct signature *signature) {
    forget(signature->input, signature->inputs);
    forget(signature->output, signature->outputs);
}
