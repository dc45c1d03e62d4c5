#include "question.h"
#include "message.h"
#include <stdio.h>
#include <string.h>

/* Whether a tensor of elements of this length has as many bytes as its shape says. */
static bool is_whole(const struct tensor *tensor, uint64_t element_bytes) {
    uint64_t product = element_bytes;
    for (uint32_t i = 0; i < tensor->dimensions; i++)
        if (tensor->shape[i] < 0 || __builtin_mul_overflow(product, (uint64_t)tensor->shape[i], &product)) return false;
    return product == tensor->bytes;
}

Error *question_read(struct question *question, const struct signature *signature) {
    for (uint32_t i = 0; i < signature->inputs; i++) {
        const struct named *named = &signature->input[i];
        struct tensor *tensor = &question->tensors[i];
        const char *name;
        int type;
        Error *error = TRITONBACKEND_RequestInput(question->request, named->name, &tensor->input);
        if (!error)
            error = TRITONBACKEND_InputProperties(
                tensor->input, &name, &type, &tensor->shape, &tensor->dimensions, &tensor->bytes, &tensor->buffers);
        if (error) return error;
        if (!tensor->dimensions || (named->element_bytes && !is_whole(tensor, named->element_bytes))) {
            char why[512];
            snprintf(
                why, sizeof why, "The request was refused: '%.128s' has %llu bytes, which are not those of its shape.",
                named->name, (unsigned long long)tensor->bytes);
            return TRITONSERVER_ErrorNew(INVALID_ARGUMENT, why);
        }
    }
    question->items = signature->batched ? (uint64_t)question->tensors[0].shape[0] : 1;
    return NULL;
}

bool questions_alike(const struct question *questions, uint32_t count, const struct signature *signature) {
    if (count > 1 && !signature->batched) return false;
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t input = 0; input < signature->inputs; input++) {
            const struct tensor *a = &questions[0].tensors[input], *b = &questions[i].tensors[input];
            if (a->dimensions != b->dimensions) return false;
            if (memcmp(a->shape + 1, b->shape + 1, (a->dimensions - 1) * sizeof *a->shape)) return false;
        }
    return true;
}

static Error *copy(const struct tensor *tensor, char *to) {
    for (uint32_t i = 0; i < tensor->buffers; i++) {
        const void *from;
        uint64_t bytes;
        enum memory_type type = MEMORY_CPU;
        int64_t device = 0;
        Error *error = TRITONBACKEND_InputBuffer(tensor->input, i, &from, &bytes, &type, &device);
        if (error) return error;
        if (type == MEMORY_GPU)
            return TRITONSERVER_ErrorNew(INTERNAL, "The request lies on a device, which this server does not read.");
        memcpy(to, from, bytes);
        to += bytes;
    }
    return NULL;
}

static uint64_t bytes_of(const struct question *questions, uint32_t count, uint32_t input) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += questions[i].tensors[input].bytes;
    return sum;
}

uint64_t questions_write(
    const struct question *questions, uint32_t count, const struct signature *signature, struct slots *slots,
    struct slot *slot, Error **error) {
    uint64_t integers = 1 + count, tensors = 0, items = 0;
    for (uint32_t i = 0; i < count; i++) items += questions[i].items;
    for (uint32_t input = 0; input < signature->inputs; input++) {
        integers += 2 + questions[0].tensors[input].dimensions + count;
        tensors += aligned(bytes_of(questions, count, input), ALIGNMENT);
    }
    uint64_t begin = aligned(integers * sizeof(uint64_t), ALIGNMENT);
    if (!slot_holds(slots, slot, begin + tensors + SENTENCE)) {
        *error = TRITONSERVER_ErrorNew(
            INTERNAL, "The request could not be read: there is no room for it in shared memory (/dev/shm).");
        return 0;
    }
    char *at = slot->at, *to = slot->at + begin;
    put(&at, count);
    for (uint32_t i = 0; i < count; i++) put(&at, questions[i].items);
    for (uint32_t input = 0; input < signature->inputs; input++) {
        const struct tensor *shaped = &questions[0].tensors[input];
        put(&at, shaped->dimensions);
        for (uint32_t i = 0; i < shaped->dimensions; i++)
            put(&at, signature->batched && !i ? items : (uint64_t)shaped->shape[i]);
        put(&at, to - slot->at);
        char *tensor = to;
        for (uint32_t i = 0; i < count; i++) {
            put(&at, questions[i].tensors[input].bytes);
            if ((*error = copy(&questions[i].tensors[input], tensor))) return 0;
            tensor += questions[i].tensors[input].bytes;
        }
        to += aligned(tensor - to, ALIGNMENT);
    }
    return at - slot->at;
}
