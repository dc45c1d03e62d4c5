/* What this server counts itself, shown among Triton's metrics (docs/metrics.md). */
#pragma once
#include "triton.h"

struct counts;

struct counts *counts_new(const char *model, uint64_t largest_batch);
void counts_free(struct counts *counts);

/* A request got its answer, or an error of this code, so many seconds after it came. */
void counts_answered(struct counts *counts, int code, double seconds);

/* The model is called with so many items. */
void counts_called(struct counts *counts, uint64_t items);

/* So many batches more, or fewer, are being answered. */
void counts_in_flight(struct counts *counts, double change);
