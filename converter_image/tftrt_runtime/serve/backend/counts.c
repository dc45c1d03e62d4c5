#include "counts.h"
#include <stdlib.h>

/* Seconds, from a quick call of a small network to one of a minute. */
static const double DURATIONS[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

enum { CODES = 5, POWERS = 64 };

/* The codes that requests are answered with, by gRPC's names (grpc.io/docs/guides/status-codes). */
static const struct {
    int code;
    const char *name;
} CODE[CODES] = {
    {0, "OK"}, {INVALID_ARGUMENT, "INVALID_ARGUMENT"}, {UNAVAILABLE, "UNAVAILABLE"}, {CANCELLED, "CANCELLED"},
    {INTERNAL, "INTERNAL"},
};

struct counts {
    MetricFamily *requests, *durations, *sizes, *batches;
    Metric *request[CODES], *duration, *size, *batch;
};

static Metric *metric(MetricFamily *family, const char *model, const char *code, const double *buckets, uint64_t count) {
    Metric *made = NULL;
    MetricArgs *arguments = NULL;
    const Parameter *labels[] = {
        TRITONSERVER_ParameterNew("model", PARAMETER_STRING, model),
        code ? TRITONSERVER_ParameterNew("code", PARAMETER_STRING, code) : NULL,
    };
    if (buckets) {
        TRITONSERVER_ErrorDelete(TRITONSERVER_MetricArgsNew(&arguments));
        TRITONSERVER_ErrorDelete(TRITONSERVER_MetricArgsSetHistogram(arguments, buckets, count));
    }
    TRITONSERVER_ErrorDelete(TRITONSERVER_MetricNewWithArgs(&made, family, labels, code ? 2 : 1, arguments));
    if (arguments) TRITONSERVER_ErrorDelete(TRITONSERVER_MetricArgsDelete(arguments));
    for (int i = 0; i < 2; i++)
        if (labels[i]) TRITONSERVER_ParameterDelete((Parameter *)labels[i]);
    return made;
}

static MetricFamily *family(enum metric_kind kind, const char *name, const char *help) {
    MetricFamily *made = NULL;
    TRITONSERVER_ErrorDelete(TRITONSERVER_MetricFamilyNew(&made, kind, name, help));
    return made;
}

struct counts *counts_new(const char *model, uint64_t largest_batch) {
    struct counts *counts = calloc(1, sizeof *counts);
    counts->requests = family(COUNTER, "tftrt_requests_total", "Requests answered, by the code of the answer");
    counts->durations =
        family(HISTOGRAM, "tftrt_request_duration_seconds", "From a request's arrival in the backend to its answer");
    counts->sizes = family(HISTOGRAM, "tftrt_batch_size", "Items in each call of the model");
    counts->batches = family(GAUGE, "tftrt_batches_in_flight", "Batches that are being answered");
    /* All codes from the beginning: rate() would not see a counter that begins at its first failure. */
    for (int i = 0; i < CODES; i++) counts->request[i] = metric(counts->requests, model, CODE[i].name, NULL, 0);
    counts->duration = metric(counts->durations, model, NULL, DURATIONS, sizeof DURATIONS / sizeof *DURATIONS);
    /* Powers of two, and the largest. */
    double sizes[POWERS];
    uint64_t count = 0;
    for (uint64_t size = 1; size < largest_batch; size *= 2) sizes[count++] = size;
    sizes[count++] = largest_batch;
    counts->size = metric(counts->sizes, model, NULL, sizes, count);
    counts->batch = metric(counts->batches, model, NULL, NULL, 0);
    return counts;
}

void counts_free(struct counts *counts) {
    Metric *metrics[] = {counts->duration, counts->size, counts->batch};
    MetricFamily *families[] = {counts->requests, counts->durations, counts->sizes, counts->batches};
    for (int i = 0; i < CODES; i++) TRITONSERVER_ErrorDelete(TRITONSERVER_MetricDelete(counts->request[i]));
    for (int i = 0; i < 3; i++) TRITONSERVER_ErrorDelete(TRITONSERVER_MetricDelete(metrics[i]));
    for (int i = 0; i < 4; i++) TRITONSERVER_ErrorDelete(TRITONSERVER_MetricFamilyDelete(families[i]));
    free(counts);
}

void counts_answered(struct counts *counts, int code, double seconds) {
    int known = 0;
    while (known < CODES - 1 && CODE[known].code != code) known++; /* any other is INTERNAL */
    TRITONSERVER_ErrorDelete(TRITONSERVER_MetricIncrement(counts->request[known], 1));
    TRITONSERVER_ErrorDelete(TRITONSERVER_MetricObserve(counts->duration, seconds));
}

void counts_called(struct counts *counts, uint64_t items) {
    TRITONSERVER_ErrorDelete(TRITONSERVER_MetricObserve(counts->size, items));
}

void counts_in_flight(struct counts *counts, double change) {
    TRITONSERVER_ErrorDelete(TRITONSERVER_MetricIncrement(counts->batch, change));
}
