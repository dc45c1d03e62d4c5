/* A backend of tritonserver that has another process run the model: model_process.py, with TensorFlow in it.
 *
 * It is handed batches by Triton's batcher and hands them on, without a queue and a thread of its own. Each of the
 * model's instances is one slot of memory that both processes have (slot.h): a thread of tritonserver copies a batch into
 * it, straight from what the network or a client's shared memory brought, asks, waits, and copies the answers to where
 * clients get them. So many batches are under way at a time, some being copied while others are computed, and Triton
 * collects requests into the next batch until one of the slots is free.
 */
#include "answer.h"
#include "counts.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORTED __attribute__((visibility("default")))

struct model {
    const char *left; /* "socket:file ..." of the slots that no instance has taken yet, as file descriptors */
    struct slots slots;
    const char *name;
    struct signature signature;
    struct counts *counts;
};

struct instance {
    struct model *model;
    struct slot slot;
};

struct times {
    uint64_t start, compute_start, compute_end;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static Error *no_memory(void) { return TRITONSERVER_ErrorNew(UNAVAILABLE, "The server has no memory left."); }

EXPORTED Error *TRITONBACKEND_ModelInitialize(Model *triton) {
    struct model *model = calloc(1, sizeof *model);
    if (!model) return no_memory();
    pthread_mutex_init(&model->slots.lock, NULL);
    model->left = getenv("TFTRT_SLOTS");
    if (!model->left) return TRITONSERVER_ErrorNew(INTERNAL, "TFTRT_SLOTS is not set: `tftrt serve` starts this server.");
    Error *error = TRITONBACKEND_ModelName(triton, &model->name);
    return error ? error : TRITONBACKEND_ModelSetState(triton, model);
}

EXPORTED Error *TRITONBACKEND_ModelFinalize(Model *triton) {
    struct model *model = NULL;
    Error *error = TRITONBACKEND_ModelState(triton, (void **)&model);
    if (error || !model) return error;
    if (model->counts) {
        counts_free(model->counts);
        signature_free(&model->signature);
    }
    free(model);
    return NULL;
}

/* Take the next slot. Triton makes one instance after another. */
static Error *take(struct model *model, struct slot *slot) {
    int socket, file, length = 0;
    if (sscanf(model->left, "%d:%d %n", &socket, &file, &length) != 2)
        return TRITONSERVER_ErrorNew(INTERNAL, "There are more instances than slots in TFTRT_SLOTS.");
    model->left += length;
    slot_open(&model->slots, slot, socket, file);
    if (!slot_wait(slot))
        return TRITONSERVER_ErrorNew(UNAVAILABLE, "The process that runs the model ended while it loaded it.");
    return NULL;
}

EXPORTED Error *TRITONBACKEND_ModelInstanceInitialize(Instance *triton) {
    Model *of;
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) return no_memory();
    Error *error = TRITONBACKEND_ModelInstanceModel(triton, &of);
    if (!error) error = TRITONBACKEND_ModelState(of, (void **)&instance->model);
    if (!error) error = take(instance->model, &instance->slot);
    if (!error) error = TRITONBACKEND_ModelInstanceSetState(triton, instance);
    if (error) return error;
    struct model *model = instance->model;
    if (!model->counts) {
        model->signature = signature_read(instance->slot.at + instance->slot.answer);
        model->counts = counts_new(model->name, model->signature.largest_batch);
    }
    return NULL;
}

EXPORTED Error *TRITONBACKEND_ModelInstanceFinalize(Instance *triton) {
    struct instance *instance = NULL;
    Error *error = TRITONBACKEND_ModelInstanceState(triton, (void **)&instance);
    if (error || !instance) return error;
    slot_close(&instance->model->slots, &instance->slot);
    free(instance);
    return NULL;
}

static void count(struct instance *instance, const struct question *question, const struct times *times) {
    counts_answered(instance->model->counts, question->code, (now() - times->start) / 1e9);
}

static void refuse(struct instance *instance, struct question *question, Error *error, const struct times *times) {
    question->code = answer_refuse(question->request, error);
    count(instance, question, times);
}

/* Ask for a batch that lies in the slot; the verdict. Where there was no room for the answers, once more with more of it. */
static int64_t ask(struct instance *instance, uint64_t message, uint64_t items, struct times *times, bool *ended) {
    int64_t verdict = NO_ROOM;
    for (int attempt = 0; attempt < 2 && verdict == NO_ROOM; attempt++) {
        bool called = false;
        if (attempt) slots_give_back(&instance->model->slots);
        times->compute_start = now();
        *ended = !slot_ask(&instance->slot, message);
        times->compute_end = now();
        if (*ended) break;
        verdict = answer_verdict(&instance->slot, &called);
        if (called) counts_called(instance->model->counts, items);
    }
    return verdict;
}

/* Answer requests: as one batch, or, where they are none or one of them spoils it for the others, each alone. */
static void answer(struct instance *instance, struct question *questions, uint32_t number, struct times *times) {
    const struct signature *signature = &instance->model->signature;
    struct slot *slot = &instance->slot;
    if (!number) return;
    int64_t verdict = APART;
    Error *error = NULL;
    if (questions_alike(questions, number, signature)) {
        uint64_t written = questions_write(questions, number, signature, &instance->model->slots, slot, &error);
        uint64_t items = signature->batched ? 0 : signature->largest_batch;
        bool ended = false;
        for (uint32_t i = 0; i < number && signature->batched; i++) items += questions[i].items;
        if (written) verdict = ask(instance, written, items, times, &ended);
        if (ended) error = TRITONSERVER_ErrorNew(INTERNAL, "The process that runs the model has ended.");
        else if (written && verdict > ANSWERED) error = answer_error(slot);
        else if (verdict == NO_ROOM)
            error = TRITONSERVER_ErrorNew(
                INTERNAL, "The request could not be answered: there is no room for it in shared memory (/dev/shm).");
        if (verdict == NO_ROOM && !ended && number > 1) verdict = APART;
    }
    if (verdict == ANSWERED) {
        answer_send(questions, number, signature, slot);
        for (uint32_t i = 0; i < number; i++) count(instance, &questions[i], times);
    } else if (verdict == APART && number > 1) {
        for (uint32_t i = 0; i < number; i++) answer(instance, questions + i, 1, times);
    } else {
        /* The error is one request's, and of a batch each gets its own. */
        enum error_code code = error ? TRITONSERVER_ErrorCode(error) : INTERNAL;
        const char *why = error ? TRITONSERVER_ErrorMessage(error) : "The request could not be answered.";
        for (uint32_t i = 0; i < number; i++)
            refuse(instance, &questions[i], TRITONSERVER_ErrorNew(code, why), times);
    }
    TRITONSERVER_ErrorDelete(error);
}

/* Read requests, so that those that can be answered stand first; how many these are. The others have their error. */
static uint32_t read_all(struct instance *instance, struct question *questions, uint32_t number, const struct times *times) {
    uint32_t readable = 0;
    for (uint32_t i = 0; i < number; i++) {
        bool given_up = false;
        TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestIsCancelled(questions[i].request, &given_up));
        Error *error = given_up ? TRITONSERVER_ErrorNew(CANCELLED, "The client gave up.")
                                : question_read(&questions[i], &instance->model->signature);
        if (error) {
            refuse(instance, &questions[i], error, times);
            continue;
        }
        struct question read = questions[i];
        questions[i] = questions[readable];
        questions[readable++] = read;
    }
    return readable;
}

EXPORTED Error *TRITONBACKEND_ModelInstanceExecute(Instance *triton, Request **requests, uint32_t number) {
    struct instance *instance;
    Error *error = TRITONBACKEND_ModelInstanceState(triton, (void **)&instance);
    if (error) return error;
    struct times times = {.start = now()};
    times.compute_start = times.compute_end = times.start;
    uint32_t inputs = instance->model->signature.inputs;
    struct question *questions = calloc(number, sizeof *questions);
    struct tensor *tensors = calloc((size_t)number * inputs, sizeof *tensors);
    if (!questions || !tensors) {
        free(questions);
        free(tensors);
        return no_memory(); /* the requests are Triton's again */
    }
    for (uint32_t i = 0; i < number; i++)
        questions[i] = (struct question){.request = requests[i], .tensors = tensors + (size_t)i * inputs};
    counts_in_flight(instance->model->counts, 1);
    slot_busy(&instance->model->slots, &instance->slot, true);
    answer(instance, questions, read_all(instance, questions, number, &times), &times);
    slot_busy(&instance->model->slots, &instance->slot, false);
    counts_in_flight(instance->model->counts, -1);

    uint64_t end = now(), items = 0;
    for (uint32_t i = 0; i < number; i++) {
        items += questions[i].items;
        TRITONSERVER_ErrorDelete(TRITONBACKEND_ModelInstanceReportStatistics(
            triton, questions[i].request, questions[i].code == ANSWERED, times.start, times.compute_start,
            times.compute_end, end));
        TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestRelease(questions[i].request, RELEASE_ALL));
    }
    TRITONSERVER_ErrorDelete(TRITONBACKEND_ModelInstanceReportBatchStatistics(
        triton, items, times.start, times.compute_start, times.compute_end, end));
    free(tensors);
    free(questions);
    return NULL;
}
