/* Requests, as the process that runs the model is asked them: together as one batch. */
#pragma once
#include "signature.h"
#include "slot.h"
#include "triton.h"

struct tensor {
    Input *input;
    const int64_t *shape;
    uint32_t dimensions, buffers;
    uint64_t bytes;
};

struct question {
    Request *request;
    uint64_t items; /* of the batch; 1 where there is none */
    struct tensor *tensors; /* in the signature's order */
    int code; /* that its client was answered with: 0, or an error_code */
};

/* Read a request; an error where it is not what it says. */
Error *question_read(struct question *question, const struct signature *signature);

/* Whether questions may be one batch: their shapes are the same but for the number of items. */
bool questions_alike(const struct question *questions, uint32_t count, const struct signature *signature);

/* Write them into the slot as one batch; how long the message is, or 0 with the reason in `error`.
 *
 * The message: how many requests, and the items of each; then of each input how many dimensions, these of the whole
 * batch, where the tensor begins, and how many bytes of it are each request's.
 */
uint64_t questions_write(
    const struct question *questions, uint32_t count, const struct signature *signature, struct slots *slots,
    struct slot *slot, Error **error);
