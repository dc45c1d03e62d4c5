/* What the process that runs the model says of it when it is ready. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct named {
    char *name;
    int type; /* Triton's number of it */
    uint64_t element_bytes; /* 0: elements differ in length */
};

struct signature {
    bool batched; /* tensors have the batch in front */
    uint64_t largest_batch; /* items in one call of the model, always as many where it takes no batches */
    uint32_t inputs, outputs;
    struct named *input, *output;
};

/* Read it where it lies: slots.py has the order. */
struct signature signature_read(const char *message);
void signature_free(struct signature *signature);
