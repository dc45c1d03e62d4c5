/* The way from tritonserver to the process that runs the model, and back, for one batch at a time.
 *
 * Two areas of memory that both processes have mapped hold what is asked and what is answered; a socket says that
 * something lies there, and ends when either process does. tftrt_runtime/serve/slots.py is the other end.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Tensors begin at multiples of it: the largest that TensorFlow's kernels on a processor want (Eigen's with AVX-512). */
enum { ALIGNMENT = 64 };

struct area {
    int file;
    char *at;
    uint64_t size; /* of the mapping, bytes */
};

struct slot {
    int socket;
    struct area asked, answered;
};

/* The next multiple. */
static inline uint64_t aligned(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

/* Have an area hold so many bytes; whether there is the memory. It never gets smaller, and keeps what it holds. */
bool area_holds(struct area *area, uint64_t bytes);

/* Ask what lies in `asked`, and wait until the answer lies in `answered`; false where the other process has ended. */
bool slot_ask(struct slot *slot, uint64_t message_bytes);

/* Give back what it holds of memory, and end the conversation. */
void slot_close(struct slot *slot);

/* Wait for what the other process says of itself; false where it has ended. */
bool slot_wait(struct slot *slot);
