/* The way from tritonserver to the process that runs the model, and back, for one batch at a time.
 *
 * An area of memory that both processes have mapped holds what is asked, and behind it what is answered; a socket says
 * that something lies there, and ends when either process does. tftrt_runtime/serve/slots.py is the other end.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    /* Tensors begin at multiples of it: the largest that TensorFlow's kernels on a processor want (Eigen's, AVX-512). */
    ALIGNMENT = 64,
    /* What an area has behind a question whatever happens: room for an answer that is a sentence. */
    SENTENCE = 4096,
};

struct slot {
    int socket, file;
    char *at;
    uint64_t mapped; /* bytes */
    uint64_t backed; /* of these, from the beginning on, bytes that there is memory for. It belongs to whoever is at work */
    uint64_t times;  /* how often the memory was given back: what lies there now are other pages */
    uint64_t answer; /* where the answer begins */
    bool busy;
    struct slot *next; /* of the same model */
};

/* All slots of a model: one that needs memory takes that of others who are idle. */
struct slots {
    pthread_mutex_t lock;
    struct slot *first;
};

/* The next multiple. */
static inline uint64_t aligned(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

/* A slot of these file descriptors, which no process that this one starts will have. */
void slot_open(struct slots *slots, struct slot *slot, int socket, int file);

/* Give back what it holds of memory, and end the conversation. */
void slot_close(struct slots *slots, struct slot *slot);

/* Say whether a slot is at work, in which its memory is nobody else's. */
void slot_busy(struct slots *slots, struct slot *slot, bool busy);

/* Have it hold so many bytes; whether there is the memory. It keeps what it holds. */
bool slot_holds(struct slots *slots, struct slot *slot, uint64_t bytes);

/* Have slots that are idle give their memory back. */
void slots_give_back(struct slots *slots);

/* Ask what lies in it, and wait for the answer; false where the other process has ended. */
bool slot_ask(struct slot *slot, uint64_t message_bytes);

/* Wait for what the other process says of itself; false where it has ended. */
bool slot_wait(struct slot *slot);
