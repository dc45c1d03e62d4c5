#include "answer.h"
#include "message.h"

enum { MOST_DIMENSIONS = 255 }; /* TensorFlow's own (tensorflow/core/framework/tensor_shape.h) and one of ours less */

/* Triton's "unknown" is 0, which here is no error. */
static int code_of(Error *error) {
    int code = error ? (int)TRITONSERVER_ErrorCode(error) : ANSWERED;
    return error && !code ? INTERNAL : code;
}

static int send(Request *request, Response *response, Error *error) {
    int code = code_of(error);
    Error *failed = response ? NULL : TRITONBACKEND_ResponseNew(&response, request);
    if (!failed) failed = TRITONBACKEND_ResponseSend(response, COMPLETE_FINAL, error);
    TRITONSERVER_ErrorDelete(error);
    if (failed) code = code_of(failed);
    TRITONSERVER_ErrorDelete(failed);
    return code;
}

int answer_refuse(Request *request, Error *error) { return send(request, NULL, error); }

int64_t answer_verdict(const struct slot *slot, bool *called) {
    const char *at = slot->at + slot->answer;
    int64_t verdict = next(&at);
    *called = next(&at);
    return verdict;
}

Error *answer_error(const struct slot *slot) {
    const char *at = slot->at + slot->answer;
    int code = next(&at);
    next(&at); /* whether the model was called */
    char *text = next_text(&at);
    Error *error = TRITONSERVER_ErrorNew(code, text ? text : "");
    free(text);
    return error;
}

static bool asked_for(Request *request, const char *name) {
    uint32_t count = 0;
    TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestOutputCount(request, &count));
    for (uint32_t i = 0; i < count; i++) {
        const char *asked = "";
        TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestOutputName(request, i, &asked));
        if (!strcmp(asked, name)) return true;
    }
    return false;
}

static Error *fill(
    Response *response, const struct named *named, const int64_t *shape, uint32_t dimensions, const char *from,
    uint64_t bytes) {
    Output *output;
    void *buffer;
    enum memory_type type = MEMORY_CPU;
    int64_t device = 0;
    Error *error = TRITONBACKEND_ResponseOutput(response, &output, named->name, named->type, shape, dimensions);
    if (!error) error = TRITONBACKEND_OutputBuffer(output, &buffer, bytes, &type, &device);
    if (error) return error;
    if (type == MEMORY_GPU) return TRITONSERVER_ErrorNew(INTERNAL, "This server has no memory of a device for an answer.");
    if (bytes) memcpy(buffer, from, bytes);
    return NULL;
}

static Error *fill_all(
    const struct question *questions, uint32_t which, uint32_t count, const struct signature *signature,
    const struct slot *slot, Response *response) {
    const char *at = slot->at + slot->answer;
    next(&at); /* the verdict */
    next(&at); /* whether the model was called */
    for (uint32_t output = 0; output < signature->outputs; output++) {
        int64_t shape[MOST_DIMENSIONS];
        uint64_t dimensions = next(&at);
        if (dimensions > MOST_DIMENSIONS) return TRITONSERVER_ErrorNew(INTERNAL, "An answer has too many dimensions.");
        for (uint64_t i = 0; i < dimensions; i++) shape[i] = next(&at);
        if (signature->batched) shape[0] = questions[which].items;
        const char *from = slot->at + next(&at);
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t part = next(&at);
            if (i < which) from += part;
            if (i == which) bytes = part;
        }
        const struct named *named = &signature->output[output];
        if (!asked_for(questions[which].request, named->name)) continue;
        Error *error = fill(response, named, shape, dimensions, from, bytes);
        if (error) return error;
    }
    return NULL;
}

void answer_send(
    struct question *questions, uint32_t count, const struct signature *signature, const struct slot *slot) {
    for (uint32_t i = 0; i < count; i++) {
        Response *response = NULL;
        Error *error = TRITONBACKEND_ResponseNew(&response, questions[i].request);
        if (!error) error = fill_all(questions, i, count, signature, slot, response);
        questions[i].code = send(questions[i].request, response, error);
    }
}
