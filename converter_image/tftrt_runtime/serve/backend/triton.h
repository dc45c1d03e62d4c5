/* The part of Triton's C API for backends that this one uses.
 *
 * Its wheels have no headers. The declarations are those of tritonbackend.h and tritonserver.h of 2.51.0
 * (github.com/triton-inference-server/core, include/triton/core), with structures that nobody outside looks into.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TRITONSERVER_Error Error;
typedef struct TRITONSERVER_Parameter Parameter;
typedef struct TRITONSERVER_Metric Metric;
typedef struct TRITONSERVER_MetricFamily MetricFamily;
typedef struct TRITONSERVER_MetricArgs MetricArgs;
typedef struct TRITONBACKEND_Model Model;
typedef struct TRITONBACKEND_ModelInstance Instance;
typedef struct TRITONBACKEND_Request Request;
typedef struct TRITONBACKEND_Response Response;
typedef struct TRITONBACKEND_Input Input;
typedef struct TRITONBACKEND_Output Output;

enum error_code { INTERNAL = 1, INVALID_ARGUMENT = 3, UNAVAILABLE = 4, CANCELLED = 7 };
enum memory_type { MEMORY_CPU = 0, MEMORY_CPU_PINNED = 1, MEMORY_GPU = 2 };
enum metric_kind { COUNTER = 0, GAUGE = 1, HISTOGRAM = 2 };
enum { PARAMETER_STRING = 0, RELEASE_ALL = 1, COMPLETE_FINAL = 1, TYPE_BYTES = 13 };

Error *TRITONSERVER_ErrorNew(enum error_code code, const char *message);
void TRITONSERVER_ErrorDelete(Error *error);
enum error_code TRITONSERVER_ErrorCode(Error *error);
const char *TRITONSERVER_ErrorMessage(Error *error);

Parameter *TRITONSERVER_ParameterNew(const char *name, int type, const void *value);
void TRITONSERVER_ParameterDelete(Parameter *parameter);
Error *TRITONSERVER_MetricFamilyNew(MetricFamily **family, enum metric_kind kind, const char *name, const char *help);
Error *TRITONSERVER_MetricFamilyDelete(MetricFamily *family);
Error *TRITONSERVER_MetricArgsNew(MetricArgs **args);
Error *TRITONSERVER_MetricArgsSetHistogram(MetricArgs *args, const double *buckets, uint64_t count);
Error *TRITONSERVER_MetricArgsDelete(MetricArgs *args);
Error *TRITONSERVER_MetricNewWithArgs(
    Metric **metric, MetricFamily *family, const Parameter **labels, uint64_t label_count, const MetricArgs *args);
Error *TRITONSERVER_MetricDelete(Metric *metric);
Error *TRITONSERVER_MetricIncrement(Metric *metric, double value);
Error *TRITONSERVER_MetricObserve(Metric *metric, double value);

Error *TRITONBACKEND_ModelName(Model *model, const char **name);
Error *TRITONBACKEND_ModelState(Model *model, void **state);
Error *TRITONBACKEND_ModelSetState(Model *model, void *state);
Error *TRITONBACKEND_ModelInstanceModel(Instance *instance, Model **model);
Error *TRITONBACKEND_ModelInstanceState(Instance *instance, void **state);
Error *TRITONBACKEND_ModelInstanceSetState(Instance *instance, void *state);
Error *TRITONBACKEND_ModelInstanceReportStatistics(
    Instance *instance, Request *request, bool success, uint64_t execution_start, uint64_t compute_start,
    uint64_t compute_end, uint64_t execution_end);
Error *TRITONBACKEND_ModelInstanceReportBatchStatistics(
    Instance *instance, uint64_t items, uint64_t execution_start, uint64_t compute_start, uint64_t compute_end,
    uint64_t execution_end);

Error *TRITONBACKEND_RequestInput(Request *request, const char *name, Input **input);
Error *TRITONBACKEND_RequestOutputCount(Request *request, uint32_t *count);
Error *TRITONBACKEND_RequestOutputName(Request *request, uint32_t index, const char **name);
Error *TRITONBACKEND_RequestIsCancelled(Request *request, bool *cancelled);
Error *TRITONBACKEND_RequestRelease(Request *request, uint32_t flags);
Error *TRITONBACKEND_InputProperties(
    Input *input, const char **name, int *type, const int64_t **shape, uint32_t *dimensions, uint64_t *bytes,
    uint32_t *buffers);
Error *TRITONBACKEND_InputBuffer(
    Input *input, uint32_t index, const void **buffer, uint64_t *bytes, enum memory_type *type, int64_t *device);
Error *TRITONBACKEND_ResponseNew(Response **response, Request *request);
Error *TRITONBACKEND_ResponseOutput(
    Response *response, Output **output, const char *name, int type, const int64_t *shape, uint32_t dimensions);
Error *TRITONBACKEND_OutputBuffer(Output *output, void **buffer, uint64_t bytes, enum memory_type *type, int64_t *device);
Error *TRITONBACKEND_ResponseSend(Response *response, uint32_t flags, Error *error);
